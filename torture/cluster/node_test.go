package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/rpc"
	"os"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore"
	"github.com/customstatus/customstatus/pgstore"
)

// nodeVariable is the environment variable that makes a process of this test binary a
// node, with its task.
const nodeVariable = "CUSTOMSTATUS_CLUSTER_NODE"

// task is what a node's process opens.
type task struct {
	Place     string   // the name of the catalog
	DSN       string   // of PostgreSQL
	Endpoints []string // of etcd
	Flaw      flaw     // a planted fault, if any
}

// requestTimeout is that of the stores. It is short, so that a round with a fault is.
const requestTimeout = time.Second

func (k task) open(ctx context.Context) (customstatus.SharedStore, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if k.DSN != "" {
		return pgstore.Open(ctx, k.DSN, &pgstore.Options{Catalog: k.Place, Timeout: requestTimeout, Logger: log})
	}
	return etcdstore.Open(ctx, clientv3.Config{Endpoints: k.Endpoints}, &etcdstore.Options{
		Prefix:           prefixOf(k.Place),
		Timeout:          2 * requestTimeout,
		MemberTimeout:    requestTimeout / 2,
		ProgressInterval: 200 * time.Millisecond,
		Logger:           log,
	})
}

// catalog opens the node's catalog. On a busy machine that takes longer than a request
// may, so catalog tries again after a timeout.
func (k task) catalog() (store customstatus.SharedStore, catalog *customstatus.Catalog, err error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	for end := time.Now().Add(endless); ; {
		if store, err = k.open(context.Background()); err == nil {
			if k.Flaw != "" {
				store = &flawed{SharedStore: store, flaw: k.Flaw}
			}
			catalog, err = customstatus.OpenShared(context.Background(), store, &customstatus.Options{Logger: log})
			if err == nil {
				return store, catalog, nil
			}
			err = errors.Join(err, store.Close())
		}
		var late net.Error
		timeout := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &late) && late.Timeout()
		if !timeout || time.Now().After(end) {
			return nil, nil, err
		}
		log.Warn("the node opens its catalog again", "error", err)
		time.Sleep(100 * time.Millisecond)
	}
}

// serveNode runs a node until standard input ends.
func serveNode(text string) error {
	var k task
	if err := json.Unmarshal([]byte(text), &k); err != nil {
		return err
	}
	store, catalog, err := k.catalog()
	if err != nil {
		return err
	}
	server := rpc.NewServer()
	if err := server.RegisterName("Node", &Node{store: store, catalog: catalog, watches: make(map[int]*watch)}); err != nil {
		return errors.Join(err, catalog.Close())
	}
	server.ServeConn(pipes{os.Stdin, os.Stdout})
	return nil
}

// pipes are a connection of two pipes.
type pipes struct {
	io.Reader
	io.WriteCloser
}

// Node has a catalog and does what requests ask of it. It is exported for net/rpc, as
// are Request, Reply and Failure.
type Node struct {
	store   customstatus.SharedStore
	catalog *customstatus.Catalog

	mu      sync.Mutex
	last    int
	watches map[int]*watch
}

// Request is what a node is asked. Fields that the Call doesn't need are left out.
type Request struct {
	Call     string
	Timeout  time.Duration // 0 is none
	ID, Name string
	Type     customstatus.StatusType
	Metadata []byte // of a write, if Has is set: gob takes a pointer to nothing for none
	Has      bool
	Options  customstatus.WriteOptions
	Statuses []customstatus.CustomUserStatus
	Query    customstatus.Query
	Position customstatus.Position
	Watch    int
}

// Reply is what a node answers.
type Reply struct {
	Status   customstatus.CustomUserStatus
	Revision customstatus.Revision
	Imported customstatus.ImportResult
	Page     customstatus.Page
	Update   customstatus.Update
	Commit   customstatus.Commit
	Watch    int
	Rewinds  uint64
	Loads    uint64
	Failure  *Failure
}

// Failure is an error on its way.
type Failure struct {
	Text    string
	Code    int // in codes, or -1
	Refused []Failure
	Index   int
}

// codes are the errors that are told apart on the other side.
func codes() []error {
	return []error{
		customstatus.ErrOutcomeUnknown, customstatus.ErrNotFound, customstatus.ErrConflict, customstatus.ErrNameInUse,
		customstatus.ErrIDInUse, customstatus.ErrCompacted, context.Canceled, context.DeadlineExceeded,
	}
}

func failureOf(err error) *Failure {
	if err == nil {
		return nil
	}
	f := &Failure{Text: err.Error(), Code: -1}
	if imports := (*customstatus.ImportError)(nil); errors.As(err, &imports) {
		for _, r := range imports.Refused {
			one := failureOf(r.Err)
			one.Index = r.Index
			f.Refused = append(f.Refused, *one)
		}
	}
	for i, sentinel := range codes() {
		if errors.Is(err, sentinel) {
			f.Code = i
			break
		}
	}
	return f
}

// Do does what a request asks.
func (n *Node) Do(q Request, r *Reply) error {
	ctx := context.Background()
	if q.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.Timeout)
		defer cancel()
	}
	r.Failure = failureOf(n.do(ctx, q, r))
	return nil
}

func (n *Node) do(ctx context.Context, q Request, r *Reply) (err error) {
	fields := customstatus.Fields{Name: q.Name, StatusType: q.Type}
	if metadata := string(q.Metadata); q.Has {
		fields.Metadata = &metadata
	}
	switch q.Call {
	case "create":
		r.Status, err = n.catalog.Create(ctx, fields)
	case "update":
		r.Status, err = n.catalog.Update(ctx, q.ID, fields, &q.Options)
	case "delete":
		r.Revision, err = n.catalog.Delete(ctx, q.ID, &q.Options)
	case "import":
		r.Imported, err = n.catalog.Import(ctx, q.Statuses)
	case "get":
		r.Status, err = n.catalog.Get(q.ID)
	case "get by name":
		r.Status, err = n.catalog.GetByName(q.Name)
	case "list":
		r.Page, err = n.catalog.List(q.Query)
	case "load":
		_, err = n.store.Load(ctx)
	case "sync":
		err = n.catalog.Sync(ctx)
	case "stats":
		stats := n.catalog.Stats()
		r.Revision, r.Rewinds, r.Loads = stats.Revision, stats.Rewinds, stats.Loads
	case "watch", "follow":
		n.mu.Lock()
		defer n.mu.Unlock()
		n.last++
		r.Watch = n.last
		n.watches[n.last] = n.watch(q)
	case "next":
		n.mu.Lock()
		w := n.watches[q.Watch]
		n.mu.Unlock()
		return w.next(r)
	case "stop":
		n.mu.Lock()
		defer n.mu.Unlock()
		n.watches[q.Watch].stop()
		delete(n.watches, q.Watch)
	default:
		err = fmt.Errorf("a node can't %q", q.Call)
	}
	return err
}

// watch is a loop over Watch or Follow that a request steps.
type watch struct {
	next func(*Reply) error
	stop func()
}

func (n *Node) watch(q Request) *watch {
	if q.Call == "follow" {
		next, stop := iter.Pull2(n.catalog.Follow(context.Background(), q.Position))
		return &watch{stop: stop, next: func(r *Reply) (err error) {
			r.Update, err, _ = next()
			return err
		}}
	}
	next, stop := iter.Pull2(n.catalog.Watch(context.Background(), q.Position))
	return &watch{stop: stop, next: func(r *Reply) (err error) {
		r.Commit, err, _ = next()
		return err
	}}
}
