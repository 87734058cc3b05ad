package customstatus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Options configure [Open]. A nil *Options and the zero value are the defaults.
type Options struct {
	// Rules say which fields are taken. The zero value is the documented
	// rules.
	Rules Rules
	// Now is the clock. Nil is [time.Now]. It must be safe for concurrent use.
	Now func() time.Time
	// NewID makes the id of a new status. Nil is a time-ordered UUID
	// (version 7). It must be safe for concurrent use.
	NewID func() string
	// History is the number of changes that are kept for [Catalog.Watch] to
	// resume from. 0 is [DefaultHistory]. The last commit is always kept.
	History int
}

// DefaultHistory is the number of changes kept for watchers by default. It lets
// a client come back after hours in most deployments and costs a megabyte at
// most.
const DefaultHistory = 4096

// WriteOptions are conditions on an Update or Delete. Nil is no condition.
type WriteOptions struct {
	// IfRevision, if not 0, lets the write pass only while the status is
	// still at this [CustomUserStatus.Revision]; else it is [ErrConflict].
	// It is for hosts that read, let somebody edit, and write back.
	IfRevision Revision
}

// Query says which statuses [Catalog.List] returns, and in which order. The
// zero value is all of them by name.
type Query struct {
	// ID, if not empty, leaves only the status with this id.
	ID string
	// Name, if not empty, leaves only statuses whose name contains it. It is
	// compared without regard to case and is never a pattern.
	Name string
	// Sort are the keys to sort by, the first one counting most. Ties are
	// broken by ID, so that pages of one revision never overlap. Nil is by
	// name.
	Sort []SortKey
	// Offset is the number of matches to leave out at the start.
	Offset int
	// Limit is the greatest number of statuses to return; 0 is no limit.
	Limit int
}

// SortKey is one key of [Query.Sort].
type SortKey struct {
	Field      SortField
	Descending bool
}

// SortField names what a [SortKey] sorts by, as the JSON form does. Strings are
// ordered byte by byte.
type SortField string

// The fields to sort by.
const (
	SortByID         SortField = "_id"
	SortByName       SortField = "name"
	SortByStatusType SortField = "statusType"
	SortByUpdatedAt  SortField = "_updatedAt"
)

// Page is what [Catalog.List] returns: all of one revision.
type Page struct {
	Statuses []CustomUserStatus
	// Total is the number of matches, those beyond Limit included.
	Total int
	// Revision is the revision that the page shows. [Catalog.Watch] after it
	// yields every change that the page does not show.
	Revision Revision
}

// Catalog is all statuses of one chat server and the rules they obey. All of its
// methods may be called by several goroutines at once.
//
// Over a store that it alone writes a catalog is linearizable. Over a shared
// store (a [Watcher]) every write still is; reads are local, never go back in
// time, and see the caller's own writes and, after [Catalog.Sync], everybody's. A
// write returns when reads see it, or when its context is done meanwhile.
//
// A write that returns nil is as durable as its store makes it. One that returns
// another error than [ErrOutcomeUnknown] left nothing behind. Its context counts
// while the write waits for its turn; once it is being committed, the write
// returns what came of it.
type Catalog struct {
	store  Store
	shared Watcher // the store, if others write it too
	rules  Rules
	now    func() time.Time
	newID  func() string

	current atomic.Pointer[snapshot] // what reads see; nil when closed
	feed    feed

	// turn is held by the one writer that commits for all that wait. With it
	// go stale and last.
	turn  chan struct{}
	stale bool     // the store may hold what current doesn't show
	last  Revision // of the last commit of our own

	editing sync.Mutex // for what beginning an edit touches of the snapshot
	edits   uint64

	mu      sync.Mutex
	pending []*write // waiting for the next commit
	closed  bool

	commits  context.Context // for commits, which nobody can call back
	ctx      context.Context // for what ends with the catalog
	cancel   context.CancelFunc
	followed chan struct{} // closed when follow has ended
	closing  sync.Once
	closeErr error
}

// Open reads the store and returns the catalog of what it holds. The store
// belongs to the catalog from then on, which closes it with [Catalog.Close];
// when Open fails it is still the caller's to close. ctx is for Open alone.
func Open(ctx context.Context, store Store, opts *Options) (*Catalog, error) {
	if opts == nil {
		opts = &Options{}
	}
	c := &Catalog{
		store: store,
		rules: opts.Rules,
		now:   opts.Now,
		newID: opts.NewID,
		feed:  feed{limit: opts.History},
		turn:  make(chan struct{}, 1),
	}
	c.shared, _ = store.(Watcher)
	if c.now == nil {
		c.now = time.Now
	}
	if c.newID == nil {
		c.newID = newUUID
	}
	if c.feed.limit <= 0 {
		c.feed.limit = DefaultHistory
	}
	if err := c.load(ctx); err != nil {
		return nil, fmt.Errorf("customstatus: open: %w", err)
	}
	c.commits = context.Background()
	c.ctx, c.cancel = context.WithCancel(c.commits)
	if c.shared != nil {
		c.followed = make(chan struct{})
		go c.follow()
	}
	return c, nil
}

// newUUID returns a time-ordered UUID, so that new keys go to the end of a
// store's tree.
func newUUID() string { return uuid.Must(uuid.NewV7()).String() }

// Create adds a status and returns it, with a new id and the time of now.
// Errors: [ErrRequired], [ErrInvalid], [ErrNameInUse], those of ctx and of the
// store, [ErrClosed].
func (c *Catalog) Create(ctx context.Context, f Fields) (CustomUserStatus, error) {
	if err := c.rules.Check(f); err != nil {
		return CustomUserStatus{}, err
	}
	var made *CustomUserStatus
	_, err := c.write(ctx, func(e *edit) error {
		if e.names.get(f.Name) != nil {
			return errNameInUse(f.Name)
		}
		id, err := c.freshID(e, nil)
		if err != nil {
			return err
		}
		now, err := c.time()
		if err != nil {
			return err
		}
		made = &CustomUserStatus{ID: id, Name: f.Name, StatusType: f.StatusType, UpdatedAt: now}
		e.put(nil, made)
		return nil
	})
	if err != nil {
		return CustomUserStatus{}, err
	}
	return *made, nil
}

// Update gives the status with the id new fields, both in one step, and returns
// what it has become. It may keep its name. With [Rules.StatusTypeOptional] an
// empty StatusType leaves the one it has. Nil opts are no condition.
// Errors: those of [Catalog.Create], [ErrRequired] for an empty id,
// [ErrNotFound], [ErrConflict].
func (c *Catalog) Update(ctx context.Context, id string, f Fields, opts *WriteOptions) (CustomUserStatus, error) {
	if id == "" {
		return CustomUserStatus{}, errRequired(FieldID)
	}
	if err := c.rules.Check(f); err != nil {
		return CustomUserStatus{}, err
	}
	var made *CustomUserStatus
	_, err := c.write(ctx, func(e *edit) error {
		old, err := e.lookUp(id, opts)
		if err != nil {
			return err
		}
		if other := e.names.get(f.Name); other != nil && other.ID != id {
			return errNameInUse(f.Name)
		}
		s := *old
		s.Name, s.Revision = f.Name, 0
		if f.StatusType != "" {
			s.StatusType = f.StatusType
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

// Delete removes the status with the id. Nil opts are no condition.
// Errors: [ErrRequired] for an empty id, [ErrNotFound], [ErrConflict], those of
// ctx and of the store, [ErrClosed].
func (c *Catalog) Delete(ctx context.Context, id string, opts *WriteOptions) error {
	if id == "" {
		return errRequired(FieldID)
	}
	_, err := c.write(ctx, func(e *edit) error {
		old, err := e.lookUp(id, opts)
		if err != nil {
			return err
		}
		e.delete(old)
		return nil
	})
	return err
}

// Import adds statuses with the ids and times they have, all or none, in one
// commit, and returns the revision at which all are there. A status that has no
// ID gets one, a zero UpdatedAt becomes now; Revision doesn't count. A status
// that is in the catalog just as given is passed over, so that an import with
// ids and times can be repeated; over a shared store those passed over were there
// at an instant of the call.
//
// If any can't be imported the error is an [*ImportError] that names each of
// them: an id or a name that belongs to another status, of the catalog or
// earlier in the slice, or fields that the rules don't allow. Other errors are
// those of ctx and of the store, and [ErrClosed].
func (c *Catalog) Import(ctx context.Context, statuses []CustomUserStatus) (Revision, error) {
	statuses = slices.Clone(statuses)
	invalid := make(map[int]error)
	for i := range statuses {
		s := &statuses[i]
		s.UpdatedAt, s.Revision = stamp(s.UpdatedAt), 0
		if err := c.rules.checkRecord(*s); err != nil {
			invalid[i] = err
		}
	}
	return c.write(ctx, func(e *edit) error { return c.planImport(e, statuses, invalid) })
}

func (c *Catalog) planImport(e *edit, statuses []CustomUserStatus, invalid map[int]error) error {
	var bad ImportError
	fresh := make([]*CustomUserStatus, 0, len(statuses))
	ids := make(map[string]bool, len(statuses))
	names := make(map[string]bool, len(statuses))
	now, err := c.time()
	if err != nil {
		return err
	}
	for i, s := range statuses {
		if err := invalid[i]; err != nil {
			bad.Records = append(bad.Records, RecordError{i, err})
			continue
		}
		if s.UpdatedAt.IsZero() {
			s.UpdatedAt = now
		}
		if s.ID == "" {
			id, err := c.freshID(e, ids)
			if err != nil {
				return err
			}
			s.ID = id
		} else if e.touched(s.ID) {
			return errTouched
		}
		there := e.ids.get(s.ID)
		if there != nil && there.same(s) {
			e.relied = true
			continue
		}
		switch {
		case there != nil || ids[s.ID]:
			bad.Records = append(bad.Records, RecordError{i, errIDInUse(s.ID)})
		case names[s.Name] || e.names.get(s.Name) != nil:
			bad.Records = append(bad.Records, RecordError{i, errNameInUse(s.Name)})
		}
		ids[s.ID], names[s.Name] = true, true
		fresh = append(fresh, &s)
	}
	if bad.Records != nil {
		return &bad
	}
	e.putNew(fresh)
	return nil
}

// same reports whether s and t differ at most in their revision.
func (s *CustomUserStatus) same(t CustomUserStatus) bool {
	t.Revision = s.Revision
	equal := s.UpdatedAt.Equal(t.UpdatedAt)
	t.UpdatedAt = s.UpdatedAt
	return equal && *s == t
}

// errTouched is a plan's answer to an edit that has changed its status already:
// an id stands at most once in a commit, so the write waits for the next one.
var errTouched = errors.New("status changed earlier in this edit")

// lookUp returns the status that a write is about.
func (e *edit) lookUp(id string, opts *WriteOptions) (*CustomUserStatus, error) {
	if e.touched(id) {
		return nil, errTouched
	}
	s := e.ids.get(id)
	if s == nil {
		return nil, errNotFound(id)
	}
	if opts != nil && opts.IfRevision != 0 && opts.IfRevision != s.Revision {
		return nil, errConflict(id)
	}
	return s, nil
}

// freshID returns an id that no status has and that is not taken either. A source
// that gives only ids in use is broken, which must not hang the writer.
func (c *Catalog) freshID(e *edit, taken map[string]bool) (string, error) {
	for range 10 {
		if id := c.newID(); validID(id) && !taken[id] && e.ids.get(id) == nil && e.base.ids.get(id) == nil {
			return id, nil
		}
	}
	return "", errors.New("customstatus: the source of ids gives none that is valid and unused")
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
	if s == nil {
		return CustomUserStatus{}, ErrClosed
	}
	if status := s.ids.get(id); status != nil {
		return *status, nil
	}
	return CustomUserStatus{}, errNotFound(id)
}

// GetByName returns the status with exactly this name. It doesn't wait and, if
// there is one, allocates nothing. Errors: [ErrNotFound], [ErrClosed].
func (c *Catalog) GetByName(name string) (CustomUserStatus, error) {
	s := c.current.Load()
	if s == nil {
		return CustomUserStatus{}, ErrClosed
	}
	if status := s.names.get(name); status != nil {
		return *status, nil
	}
	return CustomUserStatus{}, errNotFound(name)
}

// List returns the statuses that the query asks for, all of one revision. It
// doesn't wait. A page by name without a filter costs the same at any offset;
// any other query looks at every status. Errors: [ErrInvalid] for a negative
// Offset or Limit or a SortField that there isn't, [ErrClosed].
func (c *Catalog) List(q Query) (Page, error) {
	if err := q.check(); err != nil {
		return Page{}, err
	}
	s := c.current.Load()
	if s == nil {
		return Page{}, ErrClosed
	}
	return s.list(q), nil
}

func (q Query) check() error {
	if q.Offset < 0 {
		return errInvalid(FieldOffset, strconv.Itoa(q.Offset), "offset")
	}
	if q.Limit < 0 {
		return errInvalid(FieldLimit, strconv.Itoa(q.Limit), "limit")
	}
	for _, k := range q.Sort {
		switch k.Field {
		case SortByID, SortByName, SortByStatusType, SortByUpdatedAt:
		default:
			return errInvalid(FieldSort, string(k.Field), "sort field")
		}
	}
	return nil
}

// Revision returns the revision that reads see; 0 when the catalog is closed.
func (c *Catalog) Revision() Revision {
	if s := c.current.Load(); s != nil {
		return s.revision
	}
	return 0
}

// Watch yields the commits after a revision, each once, in order and none
// missing, and waits for those to come: list, then watch from the page's
// revision. In the changes, Replaces is the revision the status had before, and
// Status is what it has become or, if it was deleted, was last. The caller may
// keep the changes, but must not change them: all watchers are given the same,
// so that the largest commit costs none of them memory.
//
// The sequence ends with one error: [ErrCompacted] if the commits are no longer
// kept (the watcher is slower than [Options.History] allows, or the catalog was
// opened again), the error of ctx, or [ErrClosed]. A slow watcher holds nobody
// up; it keeps at most 64 commits in memory that it has yet to yield.
func (c *Catalog) Watch(ctx context.Context, after Revision) iter.Seq2[Commit, error] {
	return func(yield func(Commit, error) bool) {
		seen, synced := after, c.shared == nil
		for {
			if err := ctx.Err(); err != nil {
				yield(Commit{}, err)
				return
			}
			if s := c.current.Load(); s != nil && seen > s.revision {
				if !synced { // another server has shown it, and this one will soon
					synced = true
					if err := c.Sync(ctx); err != nil {
						yield(Commit{}, err)
						return
					}
					continue
				}
				yield(Commit{}, ErrCompacted) // it is one of another life of the catalog
				return
			}
			commits, more, err := c.feed.since(seen)
			if err != nil {
				yield(Commit{}, err)
				return
			}
			for _, commit := range commits {
				seen = commit.Revision
				if ctx.Err() != nil {
					break
				}
				if !yield(commit, nil) {
					return
				}
			}
			if more != nil {
				select {
				case <-more:
				case <-ctx.Done():
				}
			}
		}
	}
}

// Sync waits until reads see every commit that was made before the call, by
// whomever. Over a store that this catalog alone writes they do anyway, but for
// a write that was [ErrOutcomeUnknown]: after Sync they show what came of it.
// Errors: those of ctx and of the store, [ErrClosed].
func (c *Catalog) Sync(ctx context.Context) error {
	if c.current.Load() == nil {
		return ErrClosed
	}
	if c.shared != nil {
		return c.sync(ctx)
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
		return c.refresh()
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return ErrClosed
	}
}

// await waits until reads see the revision.
func (c *Catalog) await(ctx context.Context, revision Revision) error {
	for {
		more := c.feed.wait()
		s := c.current.Load()
		if s == nil {
			return ErrClosed
		}
		if s.revision >= revision {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ctx.Done(): // Close waits for the turn, and so for us
			return ErrClosed
		}
	}
}

// Close waits for the commit that is under way, refuses the writes that wait
// with [ErrClosed], ends all watchers, and closes the store, whose error it
// returns. It is idempotent, and nothing that the catalog started outlives it.
func (c *Catalog) Close() error {
	c.closing.Do(func() {
		c.mu.Lock()
		c.closed = true
		finish(c.pending, ErrClosed)
		c.pending = nil
		c.mu.Unlock()
		c.cancel()
		c.turn <- struct{}{} // the commit under way is done, and none comes after
		if c.followed != nil {
			<-c.followed
		}
		c.current.Store(nil)
		c.feed.close()
		c.closeErr = c.store.Close()
	})
	return c.closeErr
}
