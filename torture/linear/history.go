package linear

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/customstatus/customstatus"
)

// catalog has the methods of a customstatus.Catalog that a client uses.
type catalog interface {
	Create(context.Context, customstatus.Fields) (customstatus.CustomUserStatus, error)
	Update(context.Context, string, customstatus.Fields, *customstatus.WriteOptions) (customstatus.CustomUserStatus, error)
	Delete(context.Context, string, *customstatus.WriteOptions) (customstatus.Revision, error)
	Import(context.Context, []customstatus.CustomUserStatus) (customstatus.ImportResult, error)
	Get(string) (customstatus.CustomUserStatus, error)
	GetByName(string) (customstatus.CustomUserStatus, error)
	List(customstatus.Query) (customstatus.Page, error)
	Revision() customstatus.Revision
	Sync(context.Context) error
}

// history has the results of concurrent clients.
type history struct {
	ops     []porcupine.Operation
	local   []localPage
	known   []known
	refused map[error]int
	failed  int // writes that left nothing behind
	unknown int
	stays   bool // see workload
}

// localPage is a page that was read without a Sync before.
type localPage struct {
	catalog int
	call    int64
	query   customstatus.Query
	page    customstatus.Page
	reached customstatus.Revision // by the catalog, after it
}

// known is a revision that a client of a catalog had seen at a time.
type known struct {
	catalog  int
	at       int64
	revision customstatus.Revision
}

// workload says what the clients do.
type workload struct {
	clients, ops int
	names        []string
	// cancels is the share of writes whose context is cancelled.
	cancels float64
	// shared says that others write the store, too. Clients then read without
	// Sync every other time. And what is imported again are single statuses,
	// for those that an import passes over need not be there at the instant
	// at which it adds others.
	shared bool
	// stays says that the outcome of commits can be unknown. A catalog then
	// loads its store. If it finds what it had, it keeps its position, which is
	// that of all who have the same, and whose revision may be an older one.
	stays bool
}

// short histories with few names: most writes collide with another one.
var collide = workload{clients: 5, ops: 7, names: []string{"a", "b", "c"}, cancels: 0.1}

// errInjected is the error of a faulty store.
var errInjected = errors.New("injected fault")

// run has clients use the catalogs, each its own of them in turn, and returns
// what they were told. The catalogs are at rest before and after it.
func (w workload) run(t *testing.T, seed uint64, catalogs ...catalog) *history {
	t.Helper()
	pool := &pool{}
	if page, err := catalogs[0].List(customstatus.Query{}); err != nil {
		t.Fatal(err)
	} else {
		pool.add(page.Statuses...)
	}
	var (
		clock   atomic.Int64
		all     sync.WaitGroup
		begin   = make(chan struct{})
		clients []*client
	)
	for i := range w.clients {
		c := &client{
			workload: w,
			t:        t,
			number:   i,
			catalog:  catalogs[i%len(catalogs)],
			which:    i % len(catalogs),
			rand:     rand.New(rand.NewPCG(seed, uint64(i))),
			clock:    &clock,
			pool:     pool,
			history:  history{refused: make(map[error]int)},
		}
		clients = append(clients, c)
		all.Go(func() {
			<-begin
			for range w.ops {
				c.next()
			}
		})
	}
	close(begin)
	all.Wait()
	h := &history{refused: make(map[error]int), stays: w.stays}
	for _, c := range clients {
		h.ops = append(h.ops, c.ops...)
		h.local = append(h.local, c.local...)
		h.known = append(h.known, c.known...)
		h.failed += c.failed
		h.unknown += c.unknown
		for err, n := range c.refused {
			h.refused[err] += n
		}
	}
	return h
}

// pool is what the clients of a history have heard of.
type pool struct {
	mu       sync.Mutex
	statuses []customstatus.CustomUserStatus // the last ones
	imports  [][]customstatus.CustomUserStatus
}

func (p *pool) add(statuses ...customstatus.CustomUserStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.statuses = append(p.statuses, statuses...)
	p.statuses = p.statuses[max(0, len(p.statuses)-8):]
}

// one returns one of the statuses, or one that never was.
func (p *pool) one(r *rand.Rand) customstatus.CustomUserStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.statuses) == 0 || r.IntN(20) == 0 {
		return customstatus.CustomUserStatus{ID: "nobody", Revision: 1}
	}
	return p.statuses[r.IntN(len(p.statuses))]
}

// batchSize is the number of statuses of an import.
const batchSize = 2

// importedID is what the ids of imported statuses begin with; a number that those
// of one import share and their place in it follow.
const importedID = "imported-"

// batch returns statuses to import, now and then such as have been imported.
func (p *pool) batch(r *rand.Rand, w workload) []customstatus.CustomUserStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.imports); n > 0 && r.IntN(3) == 0 {
		return p.imports[r.IntN(n)]
	}
	size := batchSize
	if w.shared {
		size = 1 + r.IntN(batchSize)
	}
	var batch []customstatus.CustomUserStatus
	id := r.Uint64()
	for i, n := range r.Perm(len(w.names))[:size] {
		batch = append(batch, customstatus.CustomUserStatus{
			ID:         fmt.Sprintf("%s%d-%d", importedID, id, i),
			Name:       w.names[n],
			StatusType: customstatus.Offline,
			UpdatedAt:  time.Date(2020, 1, 1, 0, 0, 0, r.IntN(1000)*1e6, time.UTC),
			Metadata:   metadata(r),
		})
	}
	if !w.shared || size == 1 {
		p.imports = append(p.imports, batch)
	}
	return batch
}

// metadata draws what hosts may keep in it: nothing, and any bytes.
func metadata(r *rand.Rand) string { return []string{"", "🌴", "\xff\x00", "{}"}[r.IntN(4)] }

// client is one of those who use a catalog at the same time.
type client struct {
	history
	workload workload
	t        *testing.T
	number   int
	catalog  catalog
	which    int // of several catalogs
	rand     *rand.Rand
	clock    *atomic.Int64 // so that no two calls or returns are at the same time
	pool     *pool
}

// next does one operation and records it.
func (c *client) next() {
	op := c.choose()
	switch op.kind {
	case get, getByName, list, revision:
		c.read(op)
	default:
		c.write(op)
	}
}

func (c *client) choose() operation {
	types := []customstatus.StatusType{customstatus.Online, customstatus.Away, customstatus.Busy}
	op := operation{
		name:       c.workload.names[c.rand.IntN(len(c.workload.names))],
		statusType: types[c.rand.IntN(len(types))],
	}
	if c.rand.IntN(2) == 0 {
		m := metadata(c.rand)
		op.metadata = &m
	}
	known := c.pool.one(c.rand)
	condition := func() {
		op.id = known.ID
		if c.rand.IntN(4) == 0 {
			op.ifRevision = known.Revision
		}
	}
	switch n := c.rand.IntN(20); {
	case n < 5:
		op.kind = create
	case n < 10:
		op.kind = update
		condition()
		if c.rand.IntN(3) == 0 && known.Name != "" {
			op.name = known.Name
		}
		op.keepType = c.rand.IntN(4) == 0
	case n < 13:
		op.kind = remove
		op.name = ""
		condition()
	case n < 14:
		op = operation{kind: bulk, statuses: c.pool.batch(c.rand, c.workload)}
	case n < 16:
		op = operation{kind: get, id: known.ID}
	case n < 17:
		op = operation{kind: getByName, name: op.name}
	case n < 18:
		op = operation{kind: revision}
	default:
		op = operation{kind: list}
		switch c.rand.IntN(6) {
		case 0:
			op.query.NameContains = c.workload.names[c.rand.IntN(len(c.workload.names))]
		case 1:
			op.query.Offset, op.query.Limit = c.rand.IntN(3), c.rand.IntN(3)
		case 2:
			op.query.ID = known.ID
		}
	}
	return op
}

// record adds an operation that began at call and has just returned.
func (c *client) record(op operation, out result, call int64) {
	ret := c.clock.Add(1)
	if out.unknown {
		ret = math.MaxInt64
	}
	c.ops = append(c.ops, porcupine.Operation{ClientId: c.number, Input: op, Call: call, Output: out, Return: ret})
}

func (c *client) read(op operation) {
	call := c.clock.Add(1)
	if c.workload.shared && op.kind == list && c.rand.IntN(2) == 0 {
		page, err := c.catalog.List(op.query)
		if err != nil {
			c.t.Error(err)
			return
		}
		c.local = append(c.local, localPage{c.which, call, op.query, page, c.catalog.Revision()})
		c.knows(page.Position.Revision)
		return
	}
	if err := c.catalog.Sync(context.Background()); err != nil {
		if !errors.Is(err, errInjected) {
			c.t.Error(err)
		}
		return
	}
	var (
		out result
		err error
	)
	switch op.kind {
	case get:
		out.status, err = c.catalog.Get(op.id)
	case getByName:
		out.status, err = c.catalog.GetByName(op.name)
	case list:
		out.page, err = c.catalog.List(op.query)
	case revision:
		out.revision = c.catalog.Revision()
	}
	if out.refused = sentinel(err); err != nil && out.refused == nil {
		c.t.Error(err)
		return
	}
	c.record(op, out, call)
	c.knows(max(out.status.Revision, out.page.Position.Revision, out.revision))
	if out.status.ID != "" {
		c.pool.add(out.status)
	}
	c.pool.add(out.page.Statuses...)
}

// knows notes a revision that the catalog must not fall behind.
func (c *client) knows(r customstatus.Revision) {
	c.known = append(c.known, known{c.which, c.clock.Add(1), r})
}

func (c *client) write(op operation) {
	ctx := context.Background()
	if c.rand.Float64() < c.workload.cancels {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		var cancelled sync.WaitGroup
		defer cancelled.Wait()
		if after := c.rand.IntN(10); after == 0 {
			cancel()
		} else {
			cancelled.Go(func() {
				for range after {
					runtime.Gosched()
				}
				cancel()
			})
		}
	}
	var (
		out     result
		err     error
		opts    = &customstatus.WriteOptions{IfRevision: op.ifRevision, KeepStatusType: op.keepType}
		fields  = customstatus.Fields{Name: op.name, StatusType: op.statusType, Metadata: op.metadata}
		imports *customstatus.ImportError
	)
	call := c.clock.Add(1)
	switch op.kind {
	case create:
		out.status, err = c.catalog.Create(ctx, fields)
	case update:
		out.status, err = c.catalog.Update(ctx, op.id, fields, opts)
	case remove:
		out.revision, err = c.catalog.Delete(ctx, op.id, opts)
	case bulk:
		var imported customstatus.ImportResult
		imported, err = c.catalog.Import(ctx, op.statuses)
		out.revision = imported.Revision
		if err == nil && imported.Added+imported.Unchanged != len(op.statuses) {
			c.t.Errorf("of %d statuses, an import has added %d and found %d", len(op.statuses), imported.Added, imported.Unchanged)
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, customstatus.ErrOutcomeUnknown):
		c.unknown++
		out = result{unknown: true}
	case errors.Is(err, errInjected), errors.Is(err, context.Canceled):
		c.failed++
		return
	case errors.As(err, &imports):
		for _, r := range imports.Refused {
			out.refusals = append(out.refusals, refusal{r.Index, sentinel(r.Err)})
			c.refused[sentinel(r.Err)]++
		}
	default:
		out.refused = sentinel(err)
		if out.refused == nil {
			c.t.Error(err)
			return
		}
		c.refused[out.refused]++
	}
	c.record(op, out, call)
	if ctx.Done() == nil { // else the wait for one's own write may have been cut short
		c.knows(max(out.status.Revision, out.revision))
	}
	if out.status.ID != "" {
		c.pool.add(out.status)
	}
}

// check says why the history could not have happened one operation after the
// other, or nothing.
func (h *history) check(start customstatus.Page) string {
	m := model(start, h.stays)
	switch porcupine.CheckOperationsTimeout(m, h.ops, time.Minute) {
	case porcupine.Ok:
		return ""
	case porcupine.Unknown:
		return "the checker did not come to an end\n" + h.String()
	}
	return "not linearizable\n" + h.String()
}

// String returns the operations in the order of their calls.
func (h *history) String() string {
	describe := model(customstatus.Page{}, false).DescribeOperation
	ops := slices.SortedFunc(slices.Values(h.ops), func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, op := range ops {
		ret := fmt.Sprint(op.Return)
		if op.Return == math.MaxInt64 {
			ret = ""
		}
		fmt.Fprintf(&b, "client %d [%d,%s] %s\n", op.ClientId, op.Call, ret, describe(op.Input, op.Output))
	}
	return b.String()
}
