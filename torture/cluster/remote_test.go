package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/rpc"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/torture/linear"
)

// remote is a catalog in another process. It has the methods of a catalog that
// clients and watchers use.
type remote struct {
	client *rpc.Client
	log    bytes.Buffer // valid once the process has ended
}

// patience limits each wait for something that must happen.
const patience = time.Minute

// endless is how long a call may take at most. Those of the stores take a few times
// requestTimeout.
const endless = 20 * time.Second

// startNode starts a node, which ends with the test.
func startNode(t *testing.T, k task) *remote {
	t.Helper()
	text, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &remote{}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), nodeVariable+"="+string(text))
	cmd.Stderr = &r.log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.client = rpc.NewClient(pipes{out, in})
	t.Cleanup(func() {
		_ = r.client.Close() // which ends its standard input, and so the process
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			tail := r.log.Bytes()
			t.Logf("a node's log ends:\n%s", tail[max(0, len(tail)-4000):])
		}
	})
	return r
}

// call asks the node. What the store's failure has prevented is linear.ErrInjected.
func (r *remote) call(ctx context.Context, q Request) (*Reply, error) {
	end, limited := ctx.Deadline()
	switch {
	case limited:
		q.Timeout = max(time.Until(end), time.Nanosecond)
	case q.Call != "next":
		q.Timeout = endless
	}
	var reply Reply
	if err := r.client.Call("Node.Do", q, &reply); err != nil {
		return &reply, fmt.Errorf("a node has ended: %w", err)
	}
	err := reply.Failure.error()
	if errors.Is(err, context.DeadlineExceeded) && !limited {
		return &reply, fmt.Errorf("%s has not ended within %v", q.Call, endless)
	}
	return &reply, err
}

func (f *Failure) error() error {
	switch {
	case f == nil:
		return nil
	case len(f.Refused) > 0:
		imports := &customstatus.ImportError{}
		for _, one := range f.Refused {
			imports.Refused = append(imports.Refused, customstatus.Refusal{Index: one.Index, Err: one.error()})
		}
		return imports
	case f.Code < 0:
		return fmt.Errorf("%s (%w)", f.Text, linear.ErrInjected)
	}
	return fmt.Errorf("%s (%w)", f.Text, codes()[f.Code])
}

func withFields(q Request, f customstatus.Fields) Request {
	q.Name, q.Type = f.Name, f.StatusType
	if f.Metadata != nil {
		q.Metadata, q.Has = []byte(*f.Metadata), true
	}
	return q
}

func (r *remote) Create(ctx context.Context, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	reply, err := r.call(ctx, withFields(Request{Call: "create"}, f))
	return reply.Status, err
}

func (r *remote) Update(ctx context.Context, id string, f customstatus.Fields, opts *customstatus.WriteOptions) (customstatus.CustomUserStatus, error) {
	reply, err := r.call(ctx, withFields(Request{Call: "update", ID: id, Options: *opts}, f))
	return reply.Status, err
}

func (r *remote) Delete(ctx context.Context, id string, opts *customstatus.WriteOptions) (customstatus.Revision, error) {
	q := Request{Call: "delete", ID: id}
	if opts != nil {
		q.Options = *opts
	}
	reply, err := r.call(ctx, q)
	return reply.Revision, err
}

func (r *remote) Import(ctx context.Context, statuses []customstatus.CustomUserStatus) (customstatus.ImportResult, error) {
	reply, err := r.call(ctx, Request{Call: "import", Statuses: statuses})
	return reply.Imported, err
}

func (r *remote) Get(id string) (customstatus.CustomUserStatus, error) {
	reply, err := r.call(context.Background(), Request{Call: "get", ID: id})
	return reply.Status, err
}

func (r *remote) GetByName(name string) (customstatus.CustomUserStatus, error) {
	reply, err := r.call(context.Background(), Request{Call: "get by name", Name: name})
	return reply.Status, err
}

func (r *remote) List(q customstatus.Query) (customstatus.Page, error) {
	reply, err := r.call(context.Background(), Request{Call: "list", Query: q})
	return reply.Page, err
}

func (r *remote) Revision() customstatus.Revision {
	reply, _ := r.call(context.Background(), Request{Call: "stats"})
	return reply.Revision
}

// Sync fails when the store can't be asked for a while.
func (r *remote) Sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	_, err := r.call(ctx, Request{Call: "sync"})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", linear.ErrInjected, err)
	}
	return err
}

func (r *remote) Watch(ctx context.Context, after customstatus.Position) iter.Seq2[customstatus.Commit, error] {
	return steps(r, Request{Call: "watch", Position: after}, func(reply *Reply) customstatus.Commit { return reply.Commit })
}

func (r *remote) Follow(ctx context.Context, after customstatus.Position) iter.Seq2[customstatus.Update, error] {
	return steps(r, Request{Call: "follow", Position: after}, func(reply *Reply) customstatus.Update { return reply.Update })
}

// steps is the sequence of a node's loop over Watch or Follow.
func steps[T any](r *remote, q Request, of func(*Reply) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		ctx := context.Background()
		opened, err := r.call(ctx, q)
		for err == nil {
			var reply *Reply
			reply, err = r.call(ctx, Request{Call: "next", Watch: opened.Watch})
			if err == nil && !yield(of(reply), nil) {
				_, _ = r.call(ctx, Request{Call: "stop", Watch: opened.Watch})
				return
			}
		}
		yield(of(&Reply{}), err)
	}
}

// cluster are the nodes, and those who watch them.
type cluster struct {
	nodes    []*remote
	watching sync.WaitGroup
	watchers []*linear.Watcher // two of each node
}

// startCluster starts a node for each task, and watchers.
func startCluster(t *testing.T, tasks ...task) *cluster {
	t.Helper()
	c := &cluster{}
	for _, k := range tasks {
		c.nodes = append(c.nodes, startNode(t, k))
	}
	for _, n := range c.nodes {
		c.watchers = append(c.watchers, linear.Watch(&c.watching, n, linear.LastName), linear.Follow(&c.watching, n, linear.LastName))
	}
	return c
}

// rest waits until the outcome of every commit is known and all nodes see all commits, and
// returns what all of them then show.
func (c *cluster) rest() (customstatus.Page, error) {
	end := time.Now().Add(patience)
	insist := func(what func() error) error {
		for {
			err := what()
			if err == nil {
				return nil
			}
			if !errors.Is(err, linear.ErrInjected) && !errors.Is(err, customstatus.ErrOutcomeUnknown) {
				return fmt.Errorf("at rest: %w", err)
			}
			if time.Now().After(end) {
				return fmt.Errorf("the nodes don't recover: %w", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	// A commit with an unknown outcome may still arrive, until its store loads.
	for _, n := range c.nodes {
		if err := insist(func() error {
			_, err := n.call(context.Background(), Request{Call: "load"})
			return err
		}); err != nil {
			return customstatus.Page{}, err
		}
	}
	var first customstatus.Page
	for i, n := range c.nodes {
		if err := insist(func() error { return n.Sync(context.Background()) }); err != nil {
			return first, err
		}
		page, err := n.List(customstatus.Query{})
		if err != nil {
			return first, err
		}
		if i == 0 {
			first = page
		}
		if err := equal(page, first); err != nil {
			return first, fmt.Errorf("at rest, node %d and node 0 differ: %w", i, err)
		}
	}
	return first, nil
}

// equal returns an error unless both pages show the same.
func equal(a, b customstatus.Page) error {
	if a.Position.Fingerprint != b.Position.Fingerprint || fmt.Sprint(a.Statuses) != fmt.Sprint(b.Statuses) {
		return fmt.Errorf("%v and %v", a, b)
	}
	return nil
}
