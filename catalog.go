package customstatus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/customstatus/customstatus/internal/history"
)

// Options configure a [Catalog]. A nil *Options and the zero value are the
// defaults. A negative number, and a combination without a meaning, is an error
// of [Open]. The functions must be safe for concurrent use.
type Options struct {
	// Rules say which fields are taken. The zero value is the documented
	// rules.
	Rules Rules
	// MaxStatuses is the greatest number of statuses that writes lead to; a
	// write that would exceed it is [ErrFull]. It bounds the memory that
	// callers can fill, at about 300 bytes a status beside its metadata. Each
	// catalog over a shared store counts what it sees, so that several may
	// exceed the number together by what they add at the same time. 0 is no
	// limit.
	MaxStatuses int

	// HistoryChanges is the number of changes that are kept for [Catalog.Watch]
	// to resume from. 0 is [DefaultHistoryChanges].
	HistoryChanges int
	// HistoryBytes bounds the memory that these changes take. 0 is
	// [DefaultHistoryBytes]. The last commit is always kept.
	HistoryBytes int

	// Reopen opens the store again. With it, a catalog whose store says
	// [ErrNeedsReopen] closes that store, takes the new one in its place, and
	// goes on. It is for the stores of [Open], not of [OpenShared].
	Reopen func(ctx context.Context) (Store, error)
	// Bolt are the options of the store of [OpenFile], and mean nothing to
	// Open.
	Bolt *BoltOptions

	// Logger gets what goes wrong behind the host's back. Nil is
	// [slog.Default].
	Logger *slog.Logger
	// Observer, if not nil, is told of it too. It is copied.
	Observer *Observer

	// Now is the clock. Nil is [time.Now].
	Now func() time.Time
	// NewID makes the id of a new status. Nil is a time-ordered UUID
	// (version 7).
	NewID func() string
	// Random is the source of randomness for waits between attempts. Nil is
	// [rand.Uint64] of math/rand/v2.
	Random func() uint64
}

// The defaults of [Options.HistoryChanges] and [Options.HistoryBytes]. They let a
// client come back after hours in most deployments.
const (
	DefaultHistoryChanges = 4096
	DefaultHistoryBytes   = 4 << 20
)

// WriteOptions are the finer points of an Update or Delete. A nil *WriteOptions and the zero
// value are the defaults.
type WriteOptions struct {
	// IfRevision, if not 0, lets the write pass only while the status is
	// still at this [CustomUserStatus.Revision]; else it is [ErrConflict].
	// It is for hosts that read, let somebody edit, and write back.
	IfRevision Revision
	// KeepStatusType lets an Update leave the status type as it is, whatever
	// [Fields.StatusType] says.
	KeepStatusType bool
}

// Catalog is all statuses of one chat server and the rules they obey. All of its
// methods may be called by several goroutines at once.
//
// Over an exclusive store a catalog is linearizable. Over a shared store every
// write still is; reads are local, never go back in time, and see the caller's own
// writes and, after [Catalog.Sync], everybody's. A write returns when reads see it,
// or when its context is done meanwhile. Only when a store turns out to hold
// another history (an older file at its place, a failover that lost commits) do
// reads go back: the catalog takes what is there, ends the watchers whose position
// is none of it with [ErrCompacted], and counts a rewind in [Stats].
//
// A write that returns nil is as durable as its store makes it. One that returns
// another error than [ErrOutcomeUnknown] left nothing behind. Its context counts
// while the write waits for its turn; once it is being committed, the write
// returns what came of it. Writes that wait share the next commit, up to 1,024
// changes at a time.
type Catalog struct {
	store       Store       // replaced by reopen
	shared      SharedStore // the store, if others write it too
	reopenStore func(context.Context) (Store, error)
	replacing   sync.RWMutex // held to replace store, and to read it without the turn
	rules       Rules
	maxStatuses int
	now         func() time.Time
	newID       func() string
	random      func() uint64
	log         *slog.Logger
	observer    Observer
	account     account

	current  atomic.Pointer[snapshot] // what reads see
	stopFeed atomic.Pointer[func()]   // ends the feed, so that the store is loaded again
	loads    atomic.Int64
	history  *history.Log[Commit]
	watchers atomic.Int64

	// turn is held by the one writer that commits for all that wait. With it
	// go the fields below, up to maxChanges.
	turn        chan struct{}
	stale       bool     // the store may hold what current doesn't show
	lost        error    // why there is no open store, after reopen failed
	last        Revision // of the last commit of our own
	lastRewinds uint64   // before that commit
	maxChanges  int      // that writes may share a commit with

	editing sync.Mutex // for what beginning an edit touches of the snapshot
	edits   uint64

	mu        sync.Mutex
	pending   []*write // waiting for the next commit
	withdrawn int      // of pending
	closed    bool

	commits  context.Context // for commits, which nobody can call back
	ctx      context.Context // for what ends with the catalog
	cancel   context.CancelFunc
	followed chan struct{} // closed when follow has ended
	closing  sync.Once
	closeErr error
}

// Open returns the catalog of what an exclusive store holds. The store belongs
// to the catalog from then on, which closes it with [Catalog.Close]; when Open
// fails the caller closes it. ctx is for Open alone. Errors: those of ctx and of
// the store, and without a sentinel those of the options and of a store that says
// it is shared, for which see [OpenShared].
func Open(ctx context.Context, store Store, opts *Options) (*Catalog, error) {
	return open(ctx, store, nil, opts)
}

// OpenShared is [Open] for a store that others write too. [Options.Reopen] must be
// nil, and a store that says it is exclusive is refused.
func OpenShared(ctx context.Context, store SharedStore, opts *Options) (*Catalog, error) {
	if opts != nil && opts.Reopen != nil {
		return nil, errors.New("customstatus: Options.Reopen is not for shared stores")
	}
	return open(ctx, store, store, opts)
}

func open(ctx context.Context, store Store, shared SharedStore, opts *Options) (*Catalog, error) {
	if opts == nil {
		opts = &Options{}
	}
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("customstatus: %w", err)
	}
	if store == nil {
		return nil, errors.New("customstatus: no store")
	}
	c := &Catalog{
		store:       store,
		shared:      shared,
		reopenStore: opts.Reopen,
		rules:       opts.Rules,
		maxStatuses: opts.MaxStatuses,
		now:         opts.Now,
		newID:       opts.NewID,
		random:      opts.Random,
		log:         opts.Logger,
		turn:        make(chan struct{}, 1),
		maxChanges:  maxGroup,
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.newID == nil {
		c.newID = newUUID
	}
	if c.random == nil {
		c.random = rand.Uint64
	}
	if c.log == nil {
		c.log = slog.Default()
	}
	if opts.Observer != nil {
		c.observer = *opts.Observer
	}
	c.history = history.New[Commit](
		cmp.Or(opts.HistoryChanges, DefaultHistoryChanges), cmp.Or(opts.HistoryBytes, DefaultHistoryBytes))
	c.commits = context.Background()
	c.ctx, c.cancel = context.WithCancel(c.commits)
	if _, err := c.load(ctx); err != nil {
		c.cancel()
		return nil, err
	}
	c.account.Loads = 1
	if c.shared != nil {
		c.followed = make(chan struct{})
		go c.follow()
	}
	return c, nil
}

// check returns an error if the options can't be meant.
func (o *Options) check() error {
	switch t := o.Rules.StatusTypeDefault; {
	case o.MaxStatuses < 0, o.HistoryChanges < 0, o.HistoryBytes < 0:
		return errors.New("negative number in Options")
	case t != "" && !t.Valid():
		return fmt.Errorf("Options.Rules.StatusTypeDefault: %w", errInvalid(FieldStatusType, string(t), ""))
	case t != "" && !o.Rules.StatusTypeOptional:
		return errors.New("Options.Rules.StatusTypeDefault without StatusTypeOptional")
	}
	return nil
}

// newUUID returns a time-ordered UUID, so that new keys go to the end of a
// store's tree.
func newUUID() string { return uuid.Must(uuid.NewV7()).String() }

// Create adds a status and returns it, with a new id and the time of now.
// Errors: [ErrRequired], [ErrInvalid], [ErrNameInUse], [ErrFull], those of ctx
// and of the store, [ErrClosed].
func (c *Catalog) Create(ctx context.Context, f Fields) (CustomUserStatus, error) {
	if err := c.rules.Check(f); err != nil {
		return CustomUserStatus{}, err
	}
	var made *CustomUserStatus
	_, err := c.write(ctx, 1, func(e *edit) error {
		if owner := e.table.ByName(f.Name); owner != nil {
			return errNameInUse(f.Name, owner)
		}
		if c.maxStatuses > 0 && e.table.Len() >= c.maxStatuses {
			return errFull(c.maxStatuses)
		}
		id, err := c.freshID(e, nil)
		if err != nil {
			return err
		}
		now, err := c.time()
		if err != nil {
			return err
		}
		made = &CustomUserStatus{ID: id, Name: f.Name, StatusType: c.rules.stored(f.StatusType), UpdatedAt: now}
		if f.Metadata != nil {
			made.Metadata = *f.Metadata
		}
		e.put(nil, made)
		return nil
	})
	if err != nil {
		return CustomUserStatus{}, err
	}
	return *made, nil
}

// Update gives the status with the id new fields, all in one step, and returns
// what it has become. It may keep its name. Errors: those of [Catalog.Create], [ErrRequired] for an empty id,
// [ErrNotFound], [ErrConflict].
func (c *Catalog) Update(ctx context.Context, id string, f Fields, opts *WriteOptions) (CustomUserStatus, error) {
	if id == "" {
		return CustomUserStatus{}, errRequired(FieldID)
	}
	keepType := opts != nil && opts.KeepStatusType
	rules := c.rules
	if keepType {
		f.StatusType, rules.StatusTypeOptional = "", true
	}
	if err := rules.Check(f); err != nil {
		return CustomUserStatus{}, err
	}
	var made *CustomUserStatus
	_, err := c.write(ctx, 1, func(e *edit) error {
		old, err := e.lookUp(id, opts)
		if err != nil {
			return err
		}
		if other := e.table.ByName(f.Name); other != nil && other.ID != id {
			return errNameInUse(f.Name, other)
		}
		s := *old
		s.Name, s.Revision = f.Name, 0
		if !keepType {
			s.StatusType = c.rules.stored(f.StatusType)
		}
		if f.Metadata != nil {
			s.Metadata = *f.Metadata
		}
		now, err := c.time()
		if err != nil {
			return err
		}
		if now.After(s.UpdatedAt) {
			s.UpdatedAt = now // a clock that goes backwards doesn't take the status with it
		}
		made = &s
		e.put(old, made)
		return nil
	})
	if err != nil {
		return CustomUserStatus{}, err
	}
	return *made, nil
}

// Delete removes the status with the id and returns the revision at which it is
// gone. Errors: [ErrRequired] for an empty id, [ErrNotFound], [ErrConflict], those
// of ctx and of the store, [ErrClosed].
func (c *Catalog) Delete(ctx context.Context, id string, opts *WriteOptions) (Revision, error) {
	if id == "" {
		return 0, errRequired(FieldID)
	}
	return c.write(ctx, 1, func(e *edit) error {
		old, err := e.lookUp(id, opts)
		if err != nil {
			return err
		}
		e.delete(old)
		return nil
	})
}

// errTouched is a plan's answer to an edit that has changed its status already:
// an id stands at most once in a commit, so the write waits for the next one.
var errTouched = errors.New("status changed earlier in this edit")

// lookUp returns the status that a write is about.
func (e *edit) lookUp(id string, opts *WriteOptions) (*CustomUserStatus, error) {
	if e.touched(id) {
		return nil, errTouched
	}
	s := e.table.ByID(id)
	if s == nil {
		return nil, errNotFound(FieldID, id)
	}
	if opts != nil && opts.IfRevision != 0 && opts.IfRevision != s.Revision {
		return nil, errConflict(s, opts.IfRevision)
	}
	return s, nil
}

// freshID returns an id that no status has and that is not taken either. A source
// that gives only ids in use is broken, which must not hang the writer.
func (c *Catalog) freshID(e *edit, taken map[string]bool) (string, error) {
	for range 10 {
		if id := c.newID(); validID(id) && !taken[id] && e.table.ByID(id) == nil && e.base.table.ByID(id) == nil {
			return id, nil
		}
	}
	return "", errors.New("customstatus: the source of ids gives none that is valid and unused")
}

// clock is now, whatever the host's clock does: what the catalog does by itself must
// not end by a panic of it.
func (c *Catalog) clock() (now time.Time) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("customstatus: the clock panicked", "panic", p)
			now = time.Now()
		}
	}()
	return c.now()
}

// time is now, as a status can have it.
func (c *Catalog) time() (time.Time, error) {
	now := stamp(c.now())
	if !validTime(now) {
		return now, fmt.Errorf("customstatus: the clock is at %v, which no status can have", now)
	}
	return now, nil
}

// Get returns the status with the id. It doesn't wait and, if there is one,
// allocates nothing. Errors: [ErrNotFound], [ErrClosed].
func (c *Catalog) Get(id string) (CustomUserStatus, error) {
	s := c.current.Load()
	if s.closed {
		return CustomUserStatus{}, ErrClosed
	}
	if status := s.table.ByID(id); status != nil {
		return *status, nil
	}
	return CustomUserStatus{}, errNotFound(FieldID, id)
}

// GetByName returns the status with exactly this name. It doesn't wait and, if
// there is one, allocates nothing. Errors: [ErrNotFound], [ErrClosed].
func (c *Catalog) GetByName(name string) (CustomUserStatus, error) {
	s := c.current.Load()
	if s.closed {
		return CustomUserStatus{}, ErrClosed
	}
	if status := s.table.ByName(name); status != nil {
		return *status, nil
	}
	return CustomUserStatus{}, errNotFound(FieldName, name)
}

// Rules returns the rules that the catalog was opened with.
func (c *Catalog) Rules() Rules { return c.rules }

// Revision returns the revision that reads have reached. It stays when the
// catalog is closed.
func (c *Catalog) Revision() Revision { return c.current.Load().revision }

// Position returns the position of what reads see. It stays when the catalog is
// closed.
func (c *Catalog) Position() Position { return c.current.Load().position }

// Backup writes a copy of the store to w, as it is at one instant, if the store
// has a method Backup(context.Context, io.Writer) error as [BoltStore] has. If it has none, the
// error is [errors.ErrUnsupported].
func (c *Catalog) Backup(ctx context.Context, w io.Writer) error {
	c.replacing.RLock()
	store := c.store
	c.replacing.RUnlock()
	s, ok := store.(interface {
		Backup(ctx context.Context, w io.Writer) error
	})
	if !ok {
		return fmt.Errorf("customstatus: backup of a %T: %w", store, errors.ErrUnsupported)
	}
	err := c.guard("Backup", func() error { return s.Backup(ctx, w) })
	if errors.Is(err, ErrClosed) && !c.current.Load().closed {
		// The store could not be reopened yet.
		err = fmt.Errorf("%w: %v", ErrNeedsReopen, err)
	}
	return err
}

// Close waits for the commit that is under way, refuses the writes that wait
// with [ErrClosed], ends all watchers, and closes the store, whose error it
// returns. It is idempotent, and nothing that the catalog started outlives it.
func (c *Catalog) Close() error {
	c.closing.Do(func() {
		c.mu.Lock()
		c.closed = true
		for _, w := range c.pending {
			if w.waiting {
				w.waiting = false
				w.finish(ErrClosed)
			}
		}
		c.pending, c.withdrawn = nil, 0
		c.mu.Unlock()
		c.cancel()
		c.turn <- struct{}{} // the commit under way is done, and none comes after
		if c.followed != nil {
			<-c.followed
		}
		last := c.current.Load()
		c.current.Store(&snapshot{revision: last.revision, position: last.position, rewinds: last.rewinds, closed: true})
		c.history.Close()
		c.replacing.Lock()
		defer c.replacing.Unlock()
		c.closeErr = c.guard("Close", func() error { return c.store.Close() })
	})
	return c.closeErr
}
