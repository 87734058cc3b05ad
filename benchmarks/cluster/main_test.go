package cluster

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/benchmarks/contestant"
	"github.com/customstatus/customstatus/etcdstore/etcdtest"
)

var (
	sizesFlag = flag.Int("sizes", 10_000, "the `number` of statuses")
	_         = flag.String("data", "", "not used: the servers have directories of their own")
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

// workers is the number of goroutines of a node in rows with several.
const workers = 64

// loaded is the number of statuses at which a load is timed, and nothing else.
const loaded = 100_000

// server is a running server with one catalog.
type server interface {
	// open returns another store on the catalog.
	open(b *testing.B) customstatus.SharedStore
	// bare returns a store written by hand on the same server, with tables or keys
	// of its own.
	bare(b *testing.B) bare
}

// bare is a store as somebody writes it who needs nothing but creates. Several
// goroutines may use it at once.
type bare interface {
	// create adds a status, whose name must be free, in one transaction of two
	// statements or puts.
	create(ctx context.Context, s customstatus.CustomUserStatus) error
	// wakes yields something for each create that another client of the server has
	// been told of by the server itself. It begins with a value when it listens.
	wakes(ctx context.Context) iter.Seq2[struct{}, error]
	// load reads all statuses that the library has stored, with the bare client, and
	// returns their number.
	load(ctx context.Context) (int, error)
}

// eachServer runs a benchmark for each store and for the bare one beside it.
func eachServer(b *testing.B, run func(b *testing.B, n int, s server, own bool)) {
	n := *sizesFlag
	b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
		for _, kind := range []struct {
			name, floor string
			start       func(*testing.B) server
		}{
			{contestant.PGStore, contestant.PostgresFloor, startPostgres},
			{contestant.EtcdStore, contestant.EtcdFloor, startEtcd},
		} {
			b.Run("by="+kind.name, func(b *testing.B) { run(b, n, filled(b, n, kind.start(b)), true) })
			b.Run("by="+kind.floor, func(b *testing.B) { run(b, n, filled(b, n, kind.start(b)), false) })
		}
	})
}

// filled puts n statuses into the catalog of a server.
func filled(b *testing.B, n int, s server) server {
	c := open(b, s)
	statuses := contestant.Statuses(n, 1)
	for part := 5_000; len(statuses) > 0; {
		size := min(part, len(statuses))
		_, err := c.Import(b.Context(), statuses[:size])
		var tooLarge *customstatus.TooLargeError
		switch {
		case err == nil:
			statuses = statuses[size:]
		case asTooLarge(err, &tooLarge):
			part = tooLarge.MaxChanges
		default:
			b.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	return s
}

// open opens a catalog, as a node of a cluster does. It is closed when b ends.
func open(b *testing.B, s server) *customstatus.Catalog {
	c, err := customstatus.OpenShared(b.Context(), s.open(b), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	return c
}
