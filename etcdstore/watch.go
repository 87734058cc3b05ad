package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/customstatus/customstatus"
)

// Watch implements [customstatus.SharedStore]. It follows one member of the cluster.
// When that one fails, is cut off from the majority, or gives no sign of life for
// three times [Options.ProgressInterval], Watch ends with an error, and the next
// Watch asks another member. A catalog calls Watch again by itself.
//
// When it begins, and every [Options.ProofInterval] after that, Watch reads the whole
// catalog again beside the feed, and yields a commit without changes that has the
// fingerprint of everything. A catalog that differs loads again. So a watcher notices
// that the cluster was restored from a snapshot.
func (s *Store) Watch(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	return func(yield func(customstatus.Commit, error) bool) {
		running, cancel := s.reading(ctx)
		defer cancel()
		err := s.watch(running, after, func(c customstatus.Commit) bool { return yield(c, nil) })
		if err != nil && err != errLeft {
			yield(customstatus.Commit{}, s.failed(ctx, fmt.Sprintf("watch after revision %d", after), err))
		}
	}
}

// errLeft is returned when the caller has left the loop.
var errLeft = errors.New("the loop was left")

func (s *Store) watch(ctx context.Context, after customstatus.Revision, yield func(customstatus.Commit) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	head, cluster, err := s.head(ctx)
	if err != nil {
		return err
	}
	if after > head {
		return fmt.Errorf("%w: the last commit was %d", customstatus.ErrCompacted, head)
	}
	seen := int64(after)
	if after == head {
		// There was no commit since. The cluster may have forgotten what others
		// have written since.
		seen = cluster
	}
	m, err := s.members.current()
	if err != nil {
		return err
	}
	// A member tells nothing of its progress before it has reached the revision at which
	// the watch begins, and a cluster in which nobody writes never reaches its next one.
	w := &watcher{Store: s, at: after, seen: seen, from: min(seen+1, cluster), yield: yield}
	err = w.run(ctx, m)
	if err != errLeft && ctx.Err() == nil && !errors.Is(err, customstatus.ErrCompacted) {
		s.members.leave(m)
		err = fmt.Errorf("%s: %w", m.endpoint, err)
	}
	return err
}

// watcher is one run of Watch. It uses the protocol itself: the client library would
// follow another member without a word when a stream breaks, also one that has gone
// back to a snapshot.
type watcher struct {
	*Store
	at    customstatus.Revision // of the last commit that was yielded
	seen  int64                 // the cluster's revision up to which nothing is missing
	from  int64                 // the cluster's revision at which the stream begins
	yield func(customstatus.Commit) bool

	events []*mvccpb.Event // the fragments so far
	proof  *proof          // under way, or nil
}

// received is what the stream has received.
type received struct {
	*pb.WatchResponse
	err error
}

func (w *watcher) run(ctx context.Context, m member) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	stream, responses, err := w.open(ctx, m)
	if err != nil {
		return err
	}
	if !w.yield(customstatus.Commit{Revision: w.at}) {
		return errLeft
	}
	w.proof = w.prove(ctx)
	again := time.NewTicker(w.opts.ProofInterval)
	defer again.Stop()
	progress := time.NewTicker(w.opts.ProgressInterval)
	defer progress.Stop()
	for silent := 0; ; {
		var proven chan proven
		if w.proof != nil {
			proven = w.proof.done
		}
		select {
		case r := <-responses:
			silent = 0
			if r.err != nil {
				return r.err
			}
			err = w.take(r.WatchResponse)
		case <-progress.C:
			// What has arrived while the caller was busy is a sign of life.
			if silent++; silent > silentIntervals && len(responses) == 0 {
				return fmt.Errorf("the member was silent for %v", time.Duration(silentIntervals)*w.opts.ProgressInterval)
			}
			err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
		case p := <-proven:
			err = w.compare(p)
		case <-again.C:
			switch {
			case w.proof == nil:
				w.proof = w.prove(ctx)
			case w.proof.read != nil:
				err = fmt.Errorf("the feed is at revision %d and doesn't reach revision %d", w.at, w.proof.read.revision)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// open opens the stream and waits until the member follows.
func (w *watcher) open(ctx context.Context, m member) (pb.Watch_WatchClient, chan received, error) {
	// Until the member follows, the stream has the time of one answer.
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(w.opts.MemberTimeout, cancel)
	failed := func(err error) (pb.Watch_WatchClient, chan received, error) {
		cancel()
		return nil, nil, err
	}
	stream, err := pb.NewWatchClient(m).Watch(ctx, grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		return failed(err)
	}
	err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte(w.keys.revision), RangeEnd: end(w.keys.records), StartRevision: w.from, ProgressNotify: true, Fragment: true,
	}}})
	if err != nil {
		return failed(err)
	}
	created, err := stream.Recv()
	switch {
	case err != nil && !timer.Stop():
		return failed(fmt.Errorf("the member didn't answer within %v", w.opts.MemberTimeout))
	case err != nil:
		return failed(err)
	case !timer.Stop():
		return failed(fmt.Errorf("the member didn't answer within %v", w.opts.MemberTimeout))
	case created.Canceled:
		return failed(ended(created))
	}
	// One response waits here, the others at the member: a slow caller holds up
	// nobody else.
	responses := make(chan received, 1)
	go func() {
		defer cancel()
		for {
			resp, err := stream.Recv()
			select {
			case responses <- received{resp, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return stream, responses, nil
}

// ended returns why a member has ended a watch.
func ended(resp *pb.WatchResponse) error {
	if resp.CompactRevision > 0 {
		return fmt.Errorf("%w: the cluster has forgotten what was before its revision %d", customstatus.ErrCompacted, resp.CompactRevision)
	}
	return fmt.Errorf("the member has ended the watch: %s", resp.CancelReason)
}

// take yields the commits of a response.
func (w *watcher) take(resp *pb.WatchResponse) error {
	if resp.Canceled {
		return ended(resp)
	}
	w.events = append(w.events, resp.Events...)
	if resp.Fragment {
		return nil
	}
	events := w.events
	w.events = nil
	if resp.Header.Revision < w.seen {
		return fmt.Errorf("%w: the cluster went back from revision %d to %d", customstatus.ErrCompacted, w.seen, resp.Header.Revision)
	}
	for len(events) > 0 {
		n := 1
		for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
			n++
		}
		if err := w.takeRevision(events[:n]); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

// takeRevision yields the commit that has made the events of one revision.
func (w *watcher) takeRevision(events []*mvccpb.Event) error {
	revision := events[0].Kv.ModRevision
	if revision <= w.seen {
		return nil
	}
	w.seen = revision
	commit := customstatus.Commit{Revision: customstatus.Revision(revision)}
	var before []customstatus.Revision
	committed := false
	for _, e := range events {
		id, ok := w.keys.id(e.Kv.Key)
		switch {
		case ok && e.Type == mvccpb.Event_DELETE:
			commit.Changes = append(commit.Changes, customstatus.Change{Kind: customstatus.Deleted, Before: customstatus.CustomUserStatus{ID: id}})
		case ok:
			status, err := w.keys.parseRecord(e.Kv)
			if err = w.tolerate(err); err != nil {
				return err
			}
			commit.Changes = append(commit.Changes, customstatus.Change{Kind: customstatus.Created, After: status})
		case string(e.Kv.Key) == w.keys.revision && e.Type == mvccpb.Event_PUT:
			var err error
			before, err = parseHead(e.Kv)
			if err = w.tolerate(err); err != nil {
				return err
			}
			committed = true
		case string(e.Kv.Key) == w.keys.revision:
			return unreadable(damaged("the key %q was deleted", e.Kv.Key))
		}
	}
	switch {
	case !committed && len(commit.Changes) == 0:
		return nil // a newer version may keep more
	case len(before) != len(commit.Changes):
		return unreadable(damaged("revision %d has %d changes, and not the %d of a commit", commit.Revision, len(commit.Changes), len(before)))
	}
	for i := range commit.Changes {
		c := &commit.Changes[i]
		switch {
		case c.Kind == customstatus.Deleted:
			c.Before.Revision = before[i]
		case before[i] > 0:
			c.Kind = customstatus.Updated
			c.Before = customstatus.CustomUserStatus{ID: c.After.ID, Revision: before[i]}
		}
	}
	if commit.Revision <= w.at {
		return nil
	}
	w.at = commit.Revision
	if w.proof != nil {
		w.proof.follow(commit)
	}
	if !w.yield(commit) {
		return errLeft
	}
	if w.proof != nil && w.proof.read != nil && w.at >= w.proof.read.revision {
		return w.compare(*w.proof.read)
	}
	return nil
}

// unreadable returns the error of a feed that can't go past what has happened at a
// revision. Somebody may have mended it since, which only Load can tell.
func unreadable(err error) error { return fmt.Errorf("%w: %w", customstatus.ErrCompacted, err) }

// tolerate remembers a newer format, and makes any other error unreadable.
func (w *watcher) tolerate(err error) error {
	if errors.Is(err, ErrNewerFormat) {
		w.meet(err)
		return nil
	}
	if err != nil {
		return unreadable(err)
	}
	return nil
}
