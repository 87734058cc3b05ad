package cluster

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/customstatus/customstatus/torture/internal/harness"
)

// TestPlanted shows that the suite finds faults that are planted into the stores of
// the nodes, without any other fault. The nodes have the real store of etcd below.
func TestPlanted(t *testing.T) {
	t.Parallel()
	e := newEtcd(t, nil)
	nothing := connectionFaults(e)[0]
	var found atomic.Int64
	t.Cleanup(func() { harness.Report(t, "planted", "%d of %d flaws found", found.Load(), len(flaws())) })
	for i, planted := range flaws() {
		t.Run(string(planted), func(t *testing.T) {
			t.Parallel()
			s := newSuite(t, e, strings.ReplaceAll(string(planted), " ", "-"), planted)
			// A node that lacks a commit would try the same for long.
			s.cancels, s.limit = 1, time.Second
			err := s.all(4, []fault{nothing})
			if err == nil {
				t.Fatalf("flaw %d is not found", i)
			}
			found.Add(1)
			why, _, _ := strings.Cut(err.Error(), "\n")
			t.Logf("found: %.200s", why)
		})
	}
}
