package bolt

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// BenchmarkCommit compares a commit of one create, with its syncs, with the
// check of the pages that bbolt will follow for the commit.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		s, err := Open(tempPath(b), nil)
		require.NoError(b, err)
		for done := 0; done < n; done += min(n-done, MaxChanges) {
			changes := make(list, min(n-done, MaxChanges))
			for i := range changes {
				changes[i] = put(fmt.Sprintf("0192f3c4-%08d-7000-8000-000000000000", done+i), fmt.Sprintf("In a meeting, number %d", done+i), 0)
			}
			commit(b, s, changes...)
		}
		next := 0
		change := func(kind string) list {
			next++
			id := fmt.Sprintf("0192f3c4-%08d-7000-8000-000000000000", (next*7919)%n)
			switch kind {
			case "create":
				return list{put(fmt.Sprintf("0192f3c5-%08d-7000-8000-000000000000", next), fmt.Sprintf("Out, %d", next), 0)}
			default:
				return list{gone(id, 1)}
			}
		}
		for _, kind := range []string{"create", "delete"} {
			b.Run(fmt.Sprintf("%s/%d/look", kind, n), func(b *testing.B) {
				require.NoError(b, s.db.View(func(tx *bbolt.Tx) error {
					for b.Loop() {
						p, err := newPlan(change(kind))
						require.NoError(b, err)
						v, err := s.view(tx)
						require.NoError(b, err)
						e := &edit{plan: p, store: s, view: v}
						require.NoError(b, e.look())
					}
					return nil
				}))
			})
		}
		b.Run(fmt.Sprintf("create/%d/commit", n), func(b *testing.B) {
			for b.Loop() {
				_, err := s.Commit(context.Background(), change("create"))
				require.NoError(b, err)
			}
		})
		require.NoError(b, s.Close())
	}
}
