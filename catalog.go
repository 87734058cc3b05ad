package customstatus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/customstatus/customstatus/internal/follower"
	"github.com/customstatus/customstatus/internal/health"
	"github.com/customstatus/customstatus/internal/history"
	"github.com/customstatus/customstatus/internal/host"
	"github.com/customstatus/customstatus/internal/source"
	"github.com/customstatus/customstatus/internal/statusjson"
	"github.com/customstatus/customstatus/internal/text"
	"github.com/customstatus/customstatus/internal/view"
)

// Options configure a [Catalog]. A nil *Options and the zero value are the
// defaults. [Open] refuses negative numbers and options that contradict each other.
// The functions must be safe for concurrent use.
type Options struct {
	// Rules say which fields the catalog accepts.
	Rules Rules
	// MaxStatuses is the greatest number of statuses: a write beyond it returns
	// [ErrFull]. 0 is no limit. A status takes less than 300 bytes, plus its
	// metadata. Servers that write to a shared store at once can exceed it together.
	MaxStatuses int

	// HistoryChanges is the number of changes that the catalog keeps for
	// [Catalog.Watch] to resume from. 0 is [DefaultHistoryChanges].
	HistoryChanges int
	// HistoryBytes is the greatest number of bytes that these changes take. The
	// last commit is always kept. 0 is [DefaultHistoryBytes].
	HistoryBytes int

	// Reopen opens the store again. If it is set and the store returns
	// [ErrNeedsReopen], the catalog closes that store and goes on with the one
	// from Reopen. It is for [Open], not for [OpenShared].
	Reopen func(ctx context.Context) (Store, error)
	// Bolt are the options of [OpenFile] for its store. Open ignores them.
	Bolt *BoltOptions

	// Logger gets what goes wrong behind the host's back. Nil is [slog.Default].
	Logger *slog.Logger
	// Observer's functions are called for these failures too. Open copies the
	// struct. Nil is none.
	Observer *Observer

	// Now is the clock. Nil is [time.Now].
	Now func() time.Time
	// NewID makes the id of a new status. Nil makes time-ordered UUIDs (version 7).
	NewID func() string
	// Random is the source of randomness for the waits between attempts. Nil
	// is [rand.Uint64] of math/rand/v2.
	Random func() uint64
}

// The defaults of [Options.HistoryChanges] and [Options.HistoryBytes]. In most
// deployments a client can come back after hours.
const (
	DefaultHistoryChanges = 4096
	DefaultHistoryBytes   = 4 << 20
)

// complete sets the defaults. It returns an error if options contradict each other.
func (o *Options) complete() error {
	switch t := o.Rules.StatusTypeDefault; {
	case o.MaxStatuses < 0, o.HistoryChanges < 0, o.HistoryBytes < 0:
		return errors.New("negative number in Options")
	case t != "" && !t.Valid():
		return fmt.Errorf("Options.Rules.StatusTypeDefault: %w", errInvalid(FieldStatusType, string(t), ""))
	case t != "" && !o.Rules.StatusTypeOptional:
		return errors.New("Options.Rules.StatusTypeDefault without StatusTypeOptional")
	}
	o.HistoryChanges = cmp.Or(o.HistoryChanges, DefaultHistoryChanges)
	o.HistoryBytes = cmp.Or(o.HistoryBytes, DefaultHistoryBytes)
	o.Observer = cmp.Or(o.Observer, &Observer{})
	if o.NewID == nil {
		// Time-ordered ids go to the end of a store's tree.
		o.NewID = func() string { return uuid.Must(uuid.NewV7()).String() }
	}
	return nil
}

// WriteOptions refine an Update or a Delete. Nil and the zero value are the defaults.
type WriteOptions struct {
	// IfRevision makes the write conditional: unless the status is still at this
	// [CustomUserStatus.Revision], the write returns [ErrConflict]. It is for hosts
	// that read, let somebody edit, and write back. 0 is no condition.
	IfRevision Revision
	// KeepStatusType makes an Update ignore [Fields.StatusType] and keep the type.
	KeepStatusType bool
}

// A Catalog holds all statuses of one chat server and enforces its rules. Several
// goroutines may use it at once.
//
// Over an exclusive store a catalog is linearizable. Over a shared store every
// write still is; reads are local, never go back in time, and see the caller's own
// writes and, after [Catalog.Sync], everybody's. A write returns when reads see it,
// or when its context is done meanwhile.
//
// Reads go back only when the store turns out to hold another history: a restored
// file, or a failover that lost commits. The catalog then takes what is there, ends
// watchers whose position isn't in it with [ErrCompacted], and notes it in [Stats].
//
// A write that returns nil is as durable as its store makes it. A write that
// returns an error other than [ErrOutcomeUnknown] left nothing behind. The context
// of a write counts while the write waits for its turn; once its commit has begun,
// the write returns the outcome. Writes that wait share the next commit, up to
// 1,024 changes at a time.
type Catalog struct {
	opts     Options // complete
	observer Observer
	host     *host.Host
	health   *health.Account

	source *source.Source[backing, CustomUserStatus, Commit]
	shared SharedStore                         // the store, if others write it too
	view   view.View[CustomUserStatus, Commit] // what reads and watchers see

	watchers atomic.Int64
	follower *follower.Follower[Commit] // over a shared store

	// turn is held by the one writer that commits for all that wait. It guards
	// the fields below, up to maxChanges.
	turn       chan struct{}
	last       Revision // of the last commit of our own
	lastLoads  uint64   // before that commit
	maxChanges int      // that writes may share a commit with

	mu        sync.Mutex
	pending   []*write // waiting for the next commit
	withdrawn int      // of pending
	closed    bool

	ctx      context.Context // for what ends with the catalog
	cancel   context.CancelFunc
	closing  sync.Once
	closeErr error
}

// Open returns the catalog of an exclusive store. From then on the store belongs to
// the catalog, and [Catalog.Close] closes it; if Open fails, the caller closes it.
// ctx is for Open alone. The error is that of ctx or of the store, or one without a
// sentinel for options that contradict each other and for a shared store.
func Open(ctx context.Context, store Store, opts *Options) (*Catalog, error) {
	return open(ctx, store, nil, opts)
}

// OpenShared is [Open] for a store that others write too. It refuses an exclusive
// store and [Options.Reopen].
func OpenShared(ctx context.Context, store SharedStore, opts *Options) (*Catalog, error) {
	if opts != nil && opts.Reopen != nil {
		return nil, errors.New("customstatus: Options.Reopen is not for shared stores")
	}
	return open(ctx, store, store, opts)
}

func open(ctx context.Context, store Store, shared SharedStore, opts *Options) (*Catalog, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("customstatus: %w", err)
	}
	if store == nil {
		return nil, errors.New("customstatus: no store")
	}
	c := &Catalog{
		opts:       o,
		observer:   *o.Observer,
		host:       host.New(o.Logger, o.Now, o.Random),
		shared:     shared,
		turn:       make(chan struct{}, 1),
		maxChanges: maxGroup,
	}
	c.health = health.New(c.host)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.view.Init(c.ctx, statusType, history.New[Commit](o.HistoryChanges, o.HistoryBytes))
	from := source.Options[backing]{Shared: shared != nil, Loaded: c.noteLoad, Reopened: c.noteReopen}
	if o.Reopen != nil {
		from.Reopen = o.reopen
	}
	c.source = source.New(c.ctx, c.host, &c.view, backing{store}, from)
	if _, err := c.source.Load(ctx); err != nil {
		c.cancel()
		return nil, err
	}
	c.health.Load(false, c.Position(), nil)
	if c.shared != nil {
		c.follower = follower.Start(c.ctx, c.host, followed{c})
	}
	return c, nil
}

// Create adds a status with a new id and the current time, and returns it. The
// error is [ErrRequired], [ErrInvalid], [ErrNameInUse], [ErrFull], [ErrClosed], or
// that of ctx or of the store.
func (c *Catalog) Create(ctx context.Context, f Fields) (CustomUserStatus, error) {
	if err := c.opts.Rules.apply(&f); err != nil {
		return CustomUserStatus{}, err
	}
	var made *CustomUserStatus
	_, err := c.write(ctx, 1, func(e *edit) (err error) {
		made = new(CustomUserStatus)
		if err := c.fill(e, made, f); err != nil {
			return err
		}
		if most := c.opts.MaxStatuses; most > 0 && e.Len() >= most {
			return errFull(most)
		}
		if made.ID, err = c.freshID(e, nil); err != nil {
			return err
		}
		e.Put(nil, made)
		return nil
	})
	if err != nil {
		return CustomUserStatus{}, err
	}
	return *made, nil
}

// Update gives the status with the id new fields, all in one step, and returns the
// new status. The name may stay the same. The error is one of [Catalog.Create],
// [ErrRequired] for an empty id, [ErrNotFound], or [ErrConflict].
func (c *Catalog) Update(ctx context.Context, id string, f Fields, opts *WriteOptions) (CustomUserStatus, error) {
	if id == "" {
		return CustomUserStatus{}, errRequired(FieldID)
	}
	keepType := opts != nil && opts.KeepStatusType
	rules := c.opts.Rules
	if keepType {
		f.StatusType, rules.StatusTypeOptional = "", true
	}
	if err := rules.apply(&f); err != nil {
		return CustomUserStatus{}, err
	}
	var made *CustomUserStatus
	_, err := c.write(ctx, 1, func(e *edit) error {
		old, err := e.lookUp(id, opts)
		if err != nil {
			return err
		}
		s := *old
		if err := c.fill(e, &s, f); err != nil {
			return err
		}
		if keepType {
			s.StatusType = old.StatusType
		}
		made = &s
		e.Put(old, made)
		return nil
	})
	if err != nil {
		return CustomUserStatus{}, err
	}
	return *made, nil
}

// Delete removes the status with the id and returns the revision of the deletion.
// The error is [ErrRequired] for an empty id, [ErrNotFound], [ErrConflict],
// [ErrClosed], or that of ctx or of the store.
func (c *Catalog) Delete(ctx context.Context, id string, opts *WriteOptions) (Revision, error) {
	if id == "" {
		return 0, errRequired(FieldID)
	}
	return c.write(ctx, 1, func(e *edit) error {
		old, err := e.lookUp(id, opts)
		if err == nil {
			e.Put(old, nil)
		}
		return err
	})
}

// fill gives s the fields of a write and the current time.
func (c *Catalog) fill(e *edit, s *CustomUserStatus, f Fields) error {
	if owner := e.ByName(f.Name); owner != nil && owner.ID != s.ID {
		return errNameInUse(f.Name, owner)
	}
	now, err := c.time()
	if err != nil {
		return err
	}
	if s.ID == "" || now.After(s.UpdatedAt) { // a clock that goes back doesn't take the status with it
		s.UpdatedAt = now
	}
	s.Name, s.StatusType, s.Revision = f.Name, c.opts.Rules.stored(f.StatusType), 0
	if f.Metadata != nil {
		s.Metadata = *f.Metadata
	}
	return nil
}

// freshID returns an id that no status has and that is not in taken.
func (c *Catalog) freshID(e *edit, taken map[string]bool) (string, error) {
	return text.FreshID(c.opts.NewID, MaxIDBytes, func(id string) bool { return !taken[id] && e.Unused(id) })
}

// time returns the current time in the form in which a status keeps it.
func (c *Catalog) time() (time.Time, error) {
	now := stamp(c.host.Clock())
	if !statusjson.ValidTime(now) {
		return now, fmt.Errorf("customstatus: the clock is at %v, which no status can have", now)
	}
	return now, nil
}

// Get returns the status with the id. It doesn't wait and, if it finds one,
// allocates nothing. The error is [ErrNotFound] or [ErrClosed].
func (c *Catalog) Get(id string) (CustomUserStatus, error) {
	s := c.view.Current()
	if s.Closed {
		return CustomUserStatus{}, ErrClosed
	}
	if status := s.ByID(id); status != nil {
		return *status, nil
	}
	return CustomUserStatus{}, errIDNotFound(id)
}

// GetByName returns the status with exactly this name. It doesn't wait and, if it
// finds one, allocates nothing. The error is [ErrNotFound] or [ErrClosed].
func (c *Catalog) GetByName(name string) (CustomUserStatus, error) {
	s := c.view.Current()
	if s.Closed {
		return CustomUserStatus{}, ErrClosed
	}
	if status := s.ByName(name); status != nil {
		return *status, nil
	}
	return CustomUserStatus{}, &Error{Code: CodeNotFound, Field: FieldName, Input: clip(name)}
}

// Rules returns the rules that the catalog was opened with.
func (c *Catalog) Rules() Rules { return c.opts.Rules }

// Revision returns the revision that reads have reached. It remains after Close.
func (c *Catalog) Revision() Revision { return Revision(c.view.Revision()) }

// Position returns the position of what reads see. It remains after Close.
func (c *Catalog) Position() Position { return positionOf(c.view.Current().Position) }

// Backup writes a copy of the store to w, as the store is at one instant. The
// store must have the method Backup(context.Context, io.Writer) error, as
// [BoltStore] has; otherwise the error is [errors.ErrUnsupported].
func (c *Catalog) Backup(ctx context.Context, w io.Writer) error {
	store := c.source.Store().Store
	s, ok := store.(interface {
		Backup(ctx context.Context, w io.Writer) error
	})
	if !ok {
		return fmt.Errorf("customstatus: backup of a %T: %w", store, errors.ErrUnsupported)
	}
	err := c.host.Try("the store panicked in Backup", func() error { return s.Backup(ctx, w) })
	if errors.Is(err, ErrClosed) && !c.view.Current().Closed {
		// The store could not be reopened yet.
		err = fmt.Errorf("%w: %v", ErrNeedsReopen, err)
	}
	return err
}

// Close waits for the commit that is under way, ends waiting writes and all
// watchers with [ErrClosed], closes the store, and returns the store's error. No
// goroutine of the catalog outlives it. Further calls return the same error.
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
		if c.follower != nil {
			c.follower.Wait()
		}
		c.view.Close()
		c.closeErr = c.source.Close()
	})
	return c.closeErr
}
