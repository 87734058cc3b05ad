package report

import "github.com/customstatus/customstatus/benchmarks/contestant"

// workload is one table of the page.
type workload struct {
	Name  string // of the benchmark, without "Benchmark"
	Title string
	Unit  string
	// Does says what one operation is.
	Does string
	// Limits says where the time goes.
	Limits string
}

// section is a part of the page.
type section struct {
	Title     string
	Chart     string // file name, or empty
	ChartText string
	Workloads []workload
}

func workloadTitle(name string) string {
	for _, s := range sections() {
		for _, w := range s.Workloads {
			if w.Name == name {
				return w.Title
			}
		}
	}
	return name
}

func sections() []section {
	return []section{
		{
			Title: "Reads", Chart: "perf-get.svg", ChartText: "Time of a get by id over the number of statuses",
			Workloads: []workload{
				{"GetByID", "get by id", Seconds, "One get of a random id.",
					"This library reads a hash table in memory behind one atomic load. Up to 10,000 statuses it fits the processor's caches, and hashing the key and comparing it are most of the time; beyond, each get waits for main memory: for the bucket, for the status, and for its id, which is compared. So does the map. bbolt searches pages and then decodes JSON, which is half of its time; SQLite interprets a statement; go-memdb walks a radix tree and allocates."},
				{"GetByName", "get by name", Seconds, "One get of a random name.",
					"The same index over the other key. The engines with a separate index look twice."},
			},
		}, {
			Title: "Lists", Chart: "perf-list.svg", ChartText: "Time of a list of 50 from the middle of the name order over the number of statuses",
			Workloads: []workload{
				{"ListStart", "list of 50 at the start", Seconds, "The first 50 statuses by name, and the number of all.",
					"One allocation for the page, and copying 50 statuses into it from wherever in memory they lie."},
				{"ListMiddle", "list of 50 in the middle", Seconds, "50 statuses from half way.",
					"This library finds any place in the order by the counts in its tree. The slice is there at once, but each write has to move half of it. All others walk to the offset."},
				{"ListEnd", "list of 50 at the end", Seconds, "The last 50 statuses.",
					"As in the middle, for those that walk twice the way."},
				{"ListContains", "list by a part of the name", Seconds, "The first 50 statuses whose name has three letters, in any case, which one name in a thousand has, and the number of all such. `floor-contains` is `strings.Contains` over the folded names in a slice, which nobody can write.",
					"The folded names of some thirty statuses lie in one piece, next to each other in the order of names; one search goes through all of them."},
				{"ListByTime", "list of 50 by time", Seconds, "The 50 statuses that changed last. `floor-pass` is one look at the time of every status.",
					"A sample bounds the times that the page can have, so one pass keeps few statuses to sort. Waiting for the memory in which the statuses lie is most of the time."},
			},
		}, {
			Title: "Writes", Chart: "perf-create.svg", ChartText: "Time of a create in a catalog of 100,000, alone and by 64 goroutines",
			Workloads: []workload{
				{"Create", "create alone", Seconds, "One create after the other by one goroutine. `floor-sync` is one block of 4 KiB written and synced.",
					"Durable: the disk. A bbolt commit is two syncs one after the other, and the pages in between; SQLite and buntdb append to a log and sync once. A `db.Batch` alone waits for its timer. In memory: this library copies the paths to what changes in two hash tables and one tree, so that readers of the old state need no lock; go-memdb does the same in two radix trees; the lock and the maps copy nothing, and make readers wait."},
				{"Create64", "create by 64 goroutines", Seconds, "64 goroutines create at once; the time is that of one create among them. `floor-group` is one goroutine that puts 64 records into one bbolt transaction.",
					"Who arrives while a commit is on its way shares the next one, so that two syncs are shared by up to 64. What is left are each create's own part in the indexes, its record, and waking its goroutine. `db.Batch` shares too, but after its timer; all others sync for each create."},
				{"Update", "update", Seconds, "The status type of a random status changes.",
					"As create alone. Pages in random places change, where a create appends."},
				{"Rename", "rename", Seconds, "The name of a random status changes to one that is free.",
					"As update, and two places more in an index of names: in the file, or for this library in memory."},
			},
		}, {
			Title: "Open, import, memory", Chart: "perf-open.svg", ChartText: "Time to open a catalog of 100,000 and to import as many",
			Workloads: []workload{
				{"Open", "open", Seconds, "Open a file whose pages the system has cached, up to the first get.",
					"This library and buntdb read everything, which is what their reads in memory cost; this library also verifies each record's checksum. bbolt and bolthold read one page, SQLite counts its rows."},
				{"Import", "import", Seconds, "All statuses into an empty catalog, their names in no order, all or none. This library on bbolt takes 50,000 in one commit; 100,000 go in two, each all or none.",
					"Sorting the ids, encoding the records and writing the pages, once a commit; then the indexes in memory. What bbolt is given in order it takes at once. SQLite inserts each name where it belongs in an index on disk."},
				{"Memory", "memory held per status", Held, "Bytes on Go's heap, with names of 20 bytes and ids of 36. bbolt, bolthold and SQLite keep their pages elsewhere.",
					"The text of id and name, the status, and its places in two indexes and one order."},
			},
		}, {
			Title: "Through HTTP", Chart: "perf-http.svg", ChartText: "Answers per second through 64 connections on loopback, with 100,000 statuses",
			Workloads: []workload{
				{"HTTPList", "list of 50, unchanged catalog", Seconds, "`GET custom-user-status.list` over 64 kept-alive connections, the client in the same process. `floor-http` is a bare net/http handler that writes the same bytes.",
					"net/http and the kernel's sockets. The adapter authenticates (one SHA-256), parses the query, and writes bytes that were encoded once for the position."},
				{"HTTPListNotModified", "the same with If-None-Match", Seconds, "The answer is 304 without a body.",
					"As above, without copying the page into the socket."},
				{"HTTPCreate", "create, durable", Seconds, "`POST custom-user-status.create`, each on disk when it is answered.",
					"The commits of *create by 64 goroutines* and the requests share the processor's cores."},
			},
		}, {
			Title: "Latency of reads while others write",
			Workloads: []workload{
				{"Latency", "p99 of a get, nobody writes", P99, "Each get is timed by itself, the clock's own 40 ns or so included.",
					"The slowest in a hundred wait for main memory more often than others; those that allocate, for the garbage collector."},
				{"LatencyAmidWrites", "p99 of a get, 64 writers", P99, "The same, while 64 goroutines update without a pause.",
					"No lock and no queue is shared with writers. What is left: caches that writers empty, statuses that have just been written anew, and the processor's cores. In buntdb a reader waits for the sync of the writer before it."},
			},
		},
	}
}

// Order is how tables and charts are sorted: all contestants, then the floors.
func Order() []string {
	var out []string
	for _, k := range contestant.All() {
		out = append(out, k.Name)
	}
	return append(out, contestant.MapFloor, contestant.ContainsFloor, contestant.PassFloor, contestant.SyncFloor, contestant.GroupFloor, contestant.HTTPFloor)
}
