package report

import "github.com/customstatus/customstatus/benchmarks/contestant"

// workload is a table of the page.
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

// streamsWorkload is the one whose sizes are numbers of streams.
const streamsWorkload = "Streams"

func sections() []section {
	return []section{
		{
			Title: "Reads", Chart: "perf-get.svg", ChartText: "Time of a get by id over the number of statuses",
			Workloads: []workload{
				{"GetByID", "get by id", Seconds, "One get of a random id.",
					"This library reads a hash table in memory after one atomic load. Up to 10,000 statuses, the table fits the processor's caches, and hashing and comparing the key take most of the time. With more statuses, each get waits for main memory: for the bucket, for the status and for the status's id. So does the map. bbolt searches pages and then decodes JSON, which takes half of bbolt's time. SQLite interprets a statement. go-memdb walks a radix tree and allocates."},
				{"GetByName", "get by name", Seconds, "One get of a random name.",
					"This is the same index over the other key. Engines with a separate index do two look-ups."},
			},
		}, {
			Title: "Lists", Chart: "perf-list.svg", ChartText: "Time of a list of 50 from the middle of the name order over the number of statuses",
			Workloads: []workload{
				{"ListStart", "list of 50 at the start", Seconds, "The first 50 statuses by name, and the number of all statuses.",
					"This library allocates the page and copies 50 statuses from different places in memory."},
				{"ListMiddle", "list of 50 in the middle", Seconds, "50 statuses from the middle of the order by name.",
					"This library finds any place in the order by the counts in its tree. The slice of rwmutex-maps needs no search, but each write moves half of the slice. All others walk to the offset."},
				{"ListEnd", "list of 50 at the end", Seconds, "The last 50 statuses.",
					"Contestants that walk to the offset walk twice as far as to the middle."},
				{"ListContains", "list by a part of the name", Seconds, "The first 50 statuses with three given letters in their name, in any case, and the number of all such statuses. One name in a thousand has the letters. `floor-contains` is `strings.Contains` over a slice of folded names that can't be written.",
					"The folded names of some thirty statuses that are neighbours in the order of names lie in one piece of memory. One search goes through the whole piece. The first search after an open makes the pieces, and a search after a write makes one again."},
				{"ListByTime", "list of 50 by time", Seconds, "The 50 statuses that changed last. `floor-pass` looks at the time of every status once.",
					"A sample bounds the times that the page can have, so that one pass leaves few statuses to sort. Waits for the memory of the statuses take most of the time."},
			},
		}, {
			Title: "Writes", Chart: "perf-create.svg", ChartText: "Time of a create in a catalog of 100,000, alone and by 64 goroutines",
			Workloads: []workload{
				{"Create", "create alone", Seconds, "One create after the other by one goroutine. `floor-sync` is one block of 4 KiB written and synced.",
					"Durable contestants wait for the disk. A bbolt commit writes pages and syncs twice. SQLite and buntdb append to a log and sync once. A single `db.Batch` waits for its timer. In memory, this library copies paths in two hash tables and one tree, so that readers of the old state need no lock. go-memdb does the same in two radix trees. rwmutex-maps copies nothing, and its readers wait."},
				{"Create64", "create by 64 goroutines", Seconds, "64 goroutines create at once. The time is the elapsed time divided by the number of creates. `floor-group` is one goroutine that puts 64 records into one bbolt transaction.",
					"Writers that arrive during a commit share the next commit, so that up to 64 share two syncs. Each create still has its own work in the indexes, its record, and the waking of its goroutine. `db.Batch` shares, too, but after its timer. All others sync for each create."},
				{"Update", "update", Seconds, "The status type of a random status changes.",
					"The costs are those of *create alone*, except that pages in random places change, where a create appends."},
				{"Rename", "rename", Seconds, "The name of a random status changes to one that is free.",
					"The costs are those of *update*, plus two changes of the index of names. That index is in the file, or, in this library, in memory."},
			},
		}, {
			Title: "Open, import, memory", Chart: "perf-open.svg", ChartText: "Time to open a catalog of 100,000 statuses, and to import 100,000",
			Workloads: []workload{
				{"Open", "open", Seconds, "The time from opening a file to the first get. The system has cached the file's pages.",
					"This library and buntdb read the whole file: that is the price of their reads from memory. This library also verifies each record's checksum. bbolt and bolthold read one page. SQLite counts its rows."},
				{"Import", "import", Seconds, "An import of all statuses into an empty catalog, all or none. The names are in no order. This library on bbolt takes 50,000 in one commit, so 100,000 take two commits, each all or none.",
					"This library sorts the ids, encodes the records and writes the pages, once a commit, and then fills the indexes in memory. bbolt is fast with sorted keys. SQLite inserts each name at its place in an index on disk."},
				{"Memory", "memory held per status", Held, "Bytes on Go's heap after the first search by a part of a name, with names of 20 bytes and ids of 36 bytes. bbolt, bolthold and SQLite keep their pages outside the heap.",
					"The heap holds the text of id and name, the status, and its entries in two indexes and one order."},
			},
		}, {
			Title: "Through HTTP", Chart: "perf-http.svg", ChartText: "Answers per second through 64 connections on loopback, with 100,000 statuses",
			Workloads: []workload{
				{"HTTPList", "list of 50, unchanged catalog", Seconds, "`GET custom-user-status.list` over 64 kept-alive connections. The clients are in the same process. `floor-http` is a bare net/http handler that writes the same bytes.",
					"net/http and the kernel's sockets take most of the time. The adapter authenticates with one SHA-256, parses the query, and writes bytes that were encoded once for the position."},
				{"HTTPListNotModified", "the same with If-None-Match", Seconds, "The answer is 304 without a body.",
					"The costs are those of the list, except that no page is copied into the socket."},
				{"HTTPCreate", "create, durable", Seconds, "`POST custom-user-status.create`. Each status is on disk when the request is answered.",
					"The commits of *create by 64 goroutines* and the requests share the processor's cores."},
				{streamsWorkload, "a change to 9,000 event streams", Seconds, "From the commit of a create in memory to the last of 9,000 streams that has the event, which a process of its own reads. `floor-streams` is a handler that wakes as many goroutines, each of which sets a deadline and writes the same bytes.",
					"A write to a socket for each stream is most of the time. Each stream also looks into the catalog's history, and takes events that were encoded once for all."},
				{streamsWorkload, "memory held per event stream", HeldByStream, "Bytes of heap and stacks in the server, with 9,000 streams open.",
					"net/http's buffers and the two goroutines of a connection."},
			},
		}, {
			Title: "Latency of reads while others write",
			Workloads: []workload{
				{"Latency", "p99 of a get, nobody writes", P99, "Each get is timed by itself. The time includes about 40 ns of the clock.",
					"The slowest gets wait for main memory more often than others. Gets that allocate also wait for the garbage collector."},
				{"LatencyAmidWrites", "p99 of a get, 64 writers", P99, "The same while 64 goroutines update without a pause.",
					"Gets of this library share no lock and no queue with writers. They share the processor's cores and caches, and read statuses that were just written. In buntdb, a get waits for the sync of the write before it."},
			},
		}, {
			Title: "Shared stores",
			Workloads: []workload{
				{"ClusterCreate", "create alone on a server", Seconds, "One create after the other by one goroutine, on a server on the same machine that waits for the disk. `floor-postgres` inserts into two tables in one transaction, `floor-etcd` puts two keys.",
					"A commit of pgstore is one round trip. A transaction written by hand with pgx takes four. A commit of etcdstore puts four keys instead of two."},
				{"ClusterCreate64", "create by 64 goroutines on a server", Seconds, "64 goroutines create at once on one node. The time is the elapsed time divided by the number of creates. The floors have no groups; floor-postgres has 16 connections.",
					"Writers that arrive during a commit share the next commit, as on bbolt."},
				{"ClusterCreate192", "create by 64 goroutines on each of three nodes", Seconds, "Three catalogs in one process, each with a store and connections of its own.",
					"On PostgreSQL, the nodes take turns at one row. On etcd, they don't meet."},
				{"ClusterEvent", "a create until another node has the event", P50, "The median time from the call of Create on one node to the event at another node's watcher. The floors wait for the server's own notification: NOTIFY or a watch.",
					"pgstore reads the commit after the notification. A watcher of etcd gets it with the notification."},
				{"ClusterLoad", "load of a server's catalog", Seconds, "All statuses, read from the server. The floors read the same rows or keys with the bare client, and decode no more than the client does.",
					"The server and the transfer take most of the time."},
			},
		},
	}
}

// Order returns the order of rows in tables and charts: all contestants, then the floors.
func Order() []string {
	var out []string
	for _, k := range contestant.All() {
		out = append(out, k.Name)
	}
	out = append(out, contestant.PGStore, contestant.EtcdStore)
	return append(out, contestant.MapFloor, contestant.ContainsFloor, contestant.PassFloor, contestant.SyncFloor, contestant.GroupFloor, contestant.HTTPFloor, contestant.StreamFloor, contestant.PostgresFloor, contestant.EtcdFloor)
}
