package etcdstore

import (
	"context"
	"errors"

	"github.com/customstatus/customstatus"
)

// proof compares what a watcher has yielded with what the cluster holds. It reads the
// catalog beside the feed, and meanwhile keeps what the feed yields. Then it brings
// what it has read to where the feed is.
type proof struct {
	done  chan proven
	since []change // what the feed has yielded since the proof began
	read  *proven  // the feed hasn't reached it yet
}

// change is what one change of the feed leaves of a status.
type change struct {
	at          customstatus.Revision
	id          string
	gone        bool
	fingerprint customstatus.Fingerprint // unless it is gone
}

// proven is what the cluster holds.
type proven struct {
	revision     customstatus.Revision
	fingerprints map[string]customstatus.Fingerprint // by id
	err          error
}

// prove begins a proof, which ends when ctx is done.
func (s *Store) prove(ctx context.Context) *proof {
	p := &proof{done: make(chan proven, 1)}
	go func() {
		var read proven
		begin := func() { read.fingerprints = make(map[string]customstatus.Fingerprint) }
		begin()
		var newer error
		read.revision, newer, read.err = s.scan(ctx, func(_ int, status *customstatus.CustomUserStatus) {
			read.fingerprints[status.ID] = status.Fingerprint()
		}, begin)
		if read.err == nil {
			s.meet(newer)
		}
		p.done <- read
	}()
	return p
}

// follow keeps a commit of the feed.
func (p *proof) follow(commit customstatus.Commit) {
	for i := range commit.Changes {
		c := &commit.Changes[i]
		kept := change{at: commit.Revision, id: c.ID(), gone: c.Kind == customstatus.Deleted}
		if !kept.gone {
			kept.fingerprint = c.After.Fingerprint()
		}
		p.since = append(p.since, kept)
	}
}

// compare yields the fingerprint of everything if the feed has reached the revision
// of the proof. Otherwise it keeps the proof.
func (w *watcher) compare(read proven) error {
	p := w.proof
	if read.err != nil {
		w.proof = nil
		if errors.Is(read.err, customstatus.ErrDamaged) {
			return read.err
		}
		// The feed lives, and so may tell soon enough what is wrong.
		w.opts.Logger.Info("etcdstore: a proof of the feed failed", "error", read.err)
		return nil
	}
	if w.at < read.revision {
		p.read, p.done = &read, nil
		return nil
	}
	w.proof = nil
	for _, c := range p.since {
		switch {
		case c.at <= read.revision:
		case c.gone:
			delete(read.fingerprints, c.id)
		default:
			read.fingerprints[c.id] = c.fingerprint
		}
	}
	commit := customstatus.Commit{Revision: w.at, FingerprintKnown: true}
	for _, fingerprint := range read.fingerprints {
		commit.Fingerprint += fingerprint
	}
	if !w.yield(commit) {
		return errLeft
	}
	return nil
}
