package cluster

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/customstatus/customstatus"
)

func asTooLarge(err error, target **customstatus.TooLargeError) bool {
	return errors.As(err, target)
}

// names makes names that no status has.
type names struct{ next atomic.Uint64 }

func (n *names) fields() customstatus.Fields {
	return customstatus.Fields{Name: "new " + strconv.FormatUint(n.next.Add(1), 10), StatusType: customstatus.Busy}
}

// status makes a status for a bare store.
func (n *names) status() (customstatus.CustomUserStatus, error) {
	id, err := uuid.NewV7()
	f := n.fields()
	return customstatus.CustomUserStatus{ID: id.String(), Name: f.Name, StatusType: f.StatusType, UpdatedAt: time.Now()}, err
}

// creators returns functions that create a status, one for each node.
func creators(b *testing.B, s server, own bool, nodes int) []func(context.Context) error {
	fresh := new(names)
	var out []func(context.Context) error
	for range nodes {
		if own {
			c := open(b, s)
			out = append(out, func(ctx context.Context) error {
				_, err := c.Create(ctx, fresh.fields())
				return err
			})
			continue
		}
		bare := s.bare(b)
		out = append(out, func(ctx context.Context) error {
			status, err := fresh.status()
			if err != nil {
				return err
			}
			return bare.create(ctx, status)
		})
	}
	return out
}

// BenchmarkClusterCreate has one goroutine create statuses.
func BenchmarkClusterCreate(b *testing.B) {
	if *sizesFlag == loaded {
		b.Skip("loads only")
	}
	eachServer(b, func(b *testing.B, _ int, s server, own bool) {
		create := creators(b, s, own, 1)[0]
		for b.Loop() {
			if err := create(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkClusterCreate64 has 64 goroutines create statuses on one node. The time is the
// elapsed time divided by the number of creates.
func BenchmarkClusterCreate64(b *testing.B) { benchmarkWriters(b, 1) }

// BenchmarkClusterCreate192 has 64 goroutines create statuses on each of three nodes.
func BenchmarkClusterCreate192(b *testing.B) { benchmarkWriters(b, 3) }

func benchmarkWriters(b *testing.B, nodes int) {
	if *sizesFlag == loaded {
		b.Skip("loads only")
	}
	eachServer(b, func(b *testing.B, _ int, s server, own bool) {
		creates := creators(b, s, own, nodes)
		var made int
		for b.Loop() {
			const each = 10 // so many that the start and the end don't count
			var wg sync.WaitGroup
			for _, create := range creates {
				for range workers {
					wg.Go(func() {
						for range each {
							if err := create(b.Context()); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
			}
			wg.Wait()
			made += each * workers * nodes
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(made), "ns/op")
	})
}

// BenchmarkClusterEvent times a create on one node until another node knows of it.
func BenchmarkClusterEvent(b *testing.B) {
	if *sizesFlag == loaded {
		b.Skip("loads only")
	}
	eachServer(b, func(b *testing.B, _ int, s server, own bool) {
		create := creators(b, s, own, 1)[0]
		events, stop := iter.Pull2(listen(b, s, own))
		defer stop()
		if _, err, _ := events(); err != nil { // it listens
			b.Fatal(err)
		}
		var took []time.Duration
		for b.Loop() {
			start := time.Now()
			made := make(chan error, 1)
			go func() { made <- create(b.Context()) }()
			if _, err, _ := events(); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start))
			if err := <-made; err != nil {
				b.Fatal(err)
			}
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
		b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
	})
}

// listen yields a value at once, and one for each create of others.
func listen(b *testing.B, s server, own bool) iter.Seq2[struct{}, error] {
	if !own {
		return s.bare(b).wakes(b.Context())
	}
	c := open(b, s)
	return func(yield func(struct{}, error) bool) {
		for _, err := range c.Follow(b.Context(), customstatus.Position{}) { // the first is the whole catalog
			if !yield(struct{}{}, err) {
				return
			}
		}
	}
}

// BenchmarkClusterLoad loads a catalog of 100,000 from the server.
func BenchmarkClusterLoad(b *testing.B) {
	if *sizesFlag != loaded {
		b.Skip("only at 100,000")
	}
	eachServer(b, func(b *testing.B, n int, s server, own bool) {
		load := s.bare(b).load
		if own {
			store := s.open(b)
			defer store.Close()
			load = func(ctx context.Context) (int, error) {
				contents, err := store.Load(ctx)
				return len(contents.Statuses), err
			}
		}
		for b.Loop() {
			got, err := load(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if got != n {
				b.Fatalf("%d statuses instead of %d", got, n)
			}
		}
	})
}
