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
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/customstatus/customstatus"
)

// Catalog has the methods of a [customstatus.Catalog] that a client uses.
type Catalog interface {
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

// Numbered is a [Catalog] that stands for one catalog after another. Number returns
// the number of the one that gave the last result. It is negative if the result says
// nothing of what later reads must show.
type Numbered interface{ Number() int }

// History has the results of concurrent clients.
type History struct {
	// Ops are the operations that porcupine checks. Their times are those of one
	// counter.
	Ops []porcupine.Operation
	// Err has the errors that no operation may return.
	Err     error
	local   []localPage
	known   []known
	refused map[error]int
	left    []porcupine.Operation // writes that left nothing behind
	unknown int
	stays   bool // see [Workload]
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

// Workload says what the clients do.
type Workload struct {
	Clients, Ops int
	Names        []string
	// Cancels is the share of writes whose context is cancelled.
	Cancels float64
	// Shared says that others write the store, too. Clients then read without
	// Sync every other time. And what is imported again are single statuses,
	// for those that an import passes over need not be there at the instant
	// at which it adds others.
	Shared bool
	// Stays says that the outcome of commits can be unknown. A catalog then
	// loads its store. If it finds what it had, it keeps its position, which is
	// that of all who have the same, and whose revision may be an older one.
	Stays bool

	// Clock counts the calls and returns. Nil is a new counter.
	Clock *atomic.Int64
	// Pause, if it is set, is called before each operation of a client.
	Pause func(client int)
	// Cancel, if it is set, returns a context that is cancelled at some time, and
	// a function that releases the context.
	Cancel func(client int) (context.Context, context.CancelFunc)
}

// ErrInjected is the error of a faulty store.
var ErrInjected = errors.New("injected fault")

// Run has clients use the catalogs, each its own of them in turn, and returns
// what they were told. The catalogs are at rest before and after it.
func (w Workload) Run(seed uint64, catalogs ...Catalog) *History {
	pool := &pool{}
	page, err := catalogs[0].List(customstatus.Query{})
	if err != nil {
		return &History{Err: err}
	}
	pool.add(page.Statuses...)
	clock := w.Clock
	if clock == nil {
		clock = new(atomic.Int64)
	}
	var (
		all     sync.WaitGroup
		begin   = make(chan struct{})
		clients []*client
	)
	for i := range w.Clients {
		c := &client{
			workload: w,
			number:   i,
			catalog:  catalogs[i%len(catalogs)],
			which:    i % len(catalogs),
			rand:     rand.New(rand.NewPCG(seed, uint64(i))),
			clock:    clock,
			pool:     pool,
			History:  History{refused: make(map[error]int)},
		}
		clients = append(clients, c)
		all.Go(func() {
			<-begin
			for range w.Ops {
				if w.Pause != nil {
					w.Pause(i)
				}
				c.next()
			}
		})
	}
	close(begin)
	all.Wait()
	h := &History{refused: make(map[error]int), stays: w.Stays}
	for _, c := range clients {
		h.Ops = append(h.Ops, c.Ops...)
		h.local = append(h.local, c.local...)
		h.known = append(h.known, c.known...)
		h.Err = errors.Join(h.Err, c.Err)
		h.left = append(h.left, c.left...)
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
func (p *pool) batch(r *rand.Rand, w Workload) []customstatus.CustomUserStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.imports); n > 0 && r.IntN(3) == 0 {
		return p.imports[r.IntN(n)]
	}
	size := batchSize
	if w.Shared {
		size = 1 + r.IntN(batchSize)
	}
	var batch []customstatus.CustomUserStatus
	id := r.Uint64()
	for i, n := range r.Perm(len(w.Names))[:size] {
		batch = append(batch, customstatus.CustomUserStatus{
			ID:         fmt.Sprintf("%s%d-%d", importedID, id, i),
			Name:       w.Names[n],
			StatusType: customstatus.Offline,
			UpdatedAt:  time.Date(2020, 1, 1, 0, 0, 0, r.IntN(1000)*1e6, time.UTC),
			Metadata:   metadata(r),
		})
	}
	if !w.Shared || size == 1 {
		p.imports = append(p.imports, batch)
	}
	return batch
}

// metadata draws what hosts may keep in it: nothing, and any bytes.
func metadata(r *rand.Rand) string { return []string{"", "🌴", "\xff\x00", "{}"}[r.IntN(4)] }

// client is one of those who use a catalog at the same time.
type client struct {
	History
	workload Workload
	number   int
	catalog  Catalog
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
		name:       c.workload.Names[c.rand.IntN(len(c.workload.Names))],
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
			op.query.NameContains = c.workload.Names[c.rand.IntN(len(c.workload.Names))]
		case 1:
			op.query.Offset, op.query.Limit = c.rand.IntN(3), c.rand.IntN(3)
		case 2:
			op.query.ID = known.ID
		}
	}
	return op
}

// wrong records an error that is not of the faulty store.
func (c *client) wrong(err error) {
	if !errors.Is(err, ErrInjected) {
		c.Err = errors.Join(c.Err, err)
	}
}

// catalogNumber returns the number of the catalog that has given the last result.
func (c *client) catalogNumber() int {
	if n, ok := c.catalog.(Numbered); ok {
		return n.Number()
	}
	return c.which
}

// record adds an operation that began at call and has just returned.
func (c *client) record(op operation, out result, call int64) {
	ret := c.clock.Add(1)
	if out.unknown {
		ret = math.MaxInt64
	}
	c.Ops = append(c.Ops, porcupine.Operation{ClientId: c.number, Input: op, Call: call, Output: out, Return: ret})
}

func (c *client) read(op operation) {
	call := c.clock.Add(1)
	if c.workload.Shared && op.kind == list && c.rand.IntN(2) == 0 {
		page, err := c.catalog.List(op.query)
		if err != nil {
			c.wrong(err)
			return
		}
		c.local = append(c.local, localPage{c.catalogNumber(), call, op.query, page, c.catalog.Revision()})
		c.knows(page.Position.Revision)
		return
	}
	if err := c.catalog.Sync(context.Background()); err != nil {
		c.wrong(err)
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
		c.wrong(err)
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
	if which := c.catalogNumber(); which >= 0 {
		c.known = append(c.known, known{which, c.clock.Add(1), r})
	}
}

// cancelled returns a context that is cancelled soon, and a function that releases
// the context.
func (c *client) cancelled() (ctx context.Context, release func()) {
	if c.workload.Cancel != nil {
		return c.workload.Cancel(c.number)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var cancelled sync.WaitGroup
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
	return ctx, cancelled.Wait
}

func (c *client) write(op operation) {
	ctx := context.Background()
	if c.rand.Float64() < c.workload.Cancels {
		var release func()
		ctx, release = c.cancelled()
		defer release()
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
			c.wrong(fmt.Errorf("of %d statuses, an import has added %d and found %d", len(op.statuses), imported.Added, imported.Unchanged))
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, customstatus.ErrOutcomeUnknown):
		c.unknown++
		out = result{unknown: true}
	case errors.Is(err, ErrInjected), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		c.left = append(c.left, porcupine.Operation{ClientId: c.number, Input: op, Call: call, Output: result{unknown: true}, Return: c.clock.Add(1)})
		return
	case errors.As(err, &imports):
		for _, r := range imports.Refused {
			out.refusals = append(out.refusals, refusal{r.Index, sentinel(r.Err)})
			c.refused[sentinel(r.Err)]++
		}
	default:
		out.refused = sentinel(err)
		if out.refused == nil {
			c.wrong(err)
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

// Check says why the history could not have happened one operation after the
// other, or nothing.
func (h *History) Check(start customstatus.Page) string {
	if h.Err != nil {
		return h.Err.Error() + "\n" + h.String()
	}
	m := model(start, h.stays)
	switch porcupine.CheckOperationsTimeout(m, h.Ops, time.Minute) {
	case porcupine.Ok:
		return ""
	case porcupine.Unknown:
		return "the checker did not come to an end\n" + h.String()
	}
	return "not linearizable\n" + h.String()
}

// String returns the operations in the order of their calls.
func (h *History) String() string {
	describe := model(customstatus.Page{}, false).DescribeOperation
	ops := slices.SortedFunc(slices.Values(h.Ops), func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
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
