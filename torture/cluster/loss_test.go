package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/pgstore/pgtest"
	"github.com/customstatus/customstatus/torture/internal/harness"
	"github.com/customstatus/customstatus/torture/linear"
)

// TestLossIsSeen fails over to a standby that lacks commits. Every node must notice,
// show what the standby has, and tell its watchers.
func TestLossIsSeen(t *testing.T) {
	t.Parallel()
	p := startPostgres(t).(*postgres)
	s := newSuite(t, p, "loss", "")
	s.back = true
	nothing := connectionFaults(p)[0]
	lost := 0
	for round := range uint64(harness.Rounds(1, 10)) {
		n, err := s.lose(p, nothing, 10*round)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		lost += n
	}
	if err := s.finish(); err != nil {
		t.Fatal(err)
	}
	if s.figures.gaps == 0 {
		t.Error("no watcher was told")
	}
	s.figures.report(t)
	harness.Report(t, "failovers-with-loss", "%d, in which %d statuses were lost or came back; every node noticed and showed what the standby had", harness.Rounds(1, 10), lost)
}

// lose fails over with a loss, between histories that are linearizable each, and
// returns how many statuses are other than before.
func (s *suite) lose(p *postgres, nothing fault, seed uint64) (int, error) {
	standby := p.server.Standby(false)
	if err := s.history(nothing, seed); err != nil {
		return 0, err
	}
	kept, err := s.cluster.rest()
	if err != nil {
		return 0, err
	}
	if err := replayed(p.server, standby); err != nil {
		return 0, err
	}
	standby.Stop()
	if err := s.history(nothing, seed+1); err != nil {
		return 0, err
	}
	// Whatever the clients did, this is lost.
	created, err := s.cluster.nodes[0].Create(context.Background(), customstatus.Fields{Name: fmt.Sprint("lost ", seed), StatusType: customstatus.Busy})
	if err != nil {
		return 0, err
	}
	s.invent(created)
	before, err := s.cluster.rest()
	if err != nil {
		return 0, err
	}
	rewinds := make([]uint64, nodes)
	for i, n := range s.cluster.nodes {
		if rewinds[i], err = n.rewinds(); err != nil {
			return 0, err
		}
	}
	p.server.Kill()
	standby.Restart()
	p.failOver(standby)
	for i, n := range s.cluster.nodes {
		for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			now, err := n.rewinds()
			if err != nil {
				return 0, err
			}
			if now > rewinds[i] {
				break
			}
			if time.Now().After(end) {
				return 0, fmt.Errorf("node %d doesn't notice that commits are lost", i)
			}
		}
	}
	after, err := s.cluster.rest()
	if err != nil {
		return 0, err
	}
	if err := equal(after, kept); err != nil {
		return 0, fmt.Errorf("after the failover: %w", err)
	}
	had := make(map[customstatus.CustomUserStatus]bool)
	for _, status := range after.Statuses {
		had[status] = true
	}
	lost := 0
	for _, status := range before.Statuses {
		if !had[status] {
			lost++
		}
	}
	if lost == 0 {
		return 0, errors.New("nothing was lost")
	}
	return lost, s.history(nothing, seed+2)
}

// invent accounts for a status that a node made outside of the histories.
func (s *suite) invent(made customstatus.CustomUserStatus) {
	s.ops = append(s.ops, linear.Created(made))
}

func (r *remote) rewinds() (uint64, error) {
	reply, err := r.call(context.Background(), Request{Call: "stats"})
	return reply.Rewinds, err
}

// replayed waits until the standby has all that the primary has.
func replayed(primary, standby *pgtest.Server) error {
	want := primary.Exec("postgres", "SELECT pg_current_wal_lsn()")[0]
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if got := standby.Exec("postgres", fmt.Sprintf("SELECT pg_last_wal_replay_lsn() >= '%s'", want)); got[0] == "t" {
			return nil
		}
		if time.Now().After(end) {
			return errors.New("the standby doesn't follow")
		}
	}
}

// draw returns metadata that can't be compressed.
func draw() string {
	b := make([]byte, customstatus.MaxMetadataBytes)
	for i := range b {
		b[i] = byte(rand.IntN(256))
	}
	return string(b)
}
