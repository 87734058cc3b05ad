// Package contestant puts this library and what a chat server's author would
// use instead of it behind one interface, so that all of them can be timed at
// the same work.
//
// Each is written as well as its engine allows: prepared statements, one
// connection that writes, one transaction for an import with its keys in
// order. What all of them do is the work of the catalog: check the fields with
// the same [customstatus.Rules], make an id and a time, keep names unique
// under concurrency, and, if Durable, have the write on disk when it returns.
// The tests of this package hold each of them to that.
package contestant

import (
	"time"

	"github.com/google/uuid"

	"github.com/customstatus/customstatus"
)

// Reader looks one status up. A status that is not there is
// [customstatus.ErrNotFound].
type Reader interface {
	GetByID(id string) (customstatus.CustomUserStatus, error)
	GetByName(name string) (customstatus.CustomUserStatus, error)
}

// Contestant is a catalog of statuses with unique names. All methods but Close
// may be called by several goroutines at once.
type Contestant interface {
	Reader

	// Create adds a status under an id of its own making. Errors are
	// [customstatus.ErrRequired], [customstatus.ErrInvalid] and
	// [customstatus.ErrNameInUse].
	Create(f customstatus.Fields) (customstatus.CustomUserStatus, error)
	// Update changes both fields of a status, which may rename it. Errors
	// are those of Create and [customstatus.ErrNotFound].
	Update(id string, f customstatus.Fields) (customstatus.CustomUserStatus, error)
	// List returns up to limit statuses in the order of their names, byte by
	// byte, and the number of all there are.
	List(offset, limit int) (page []customstatus.CustomUserStatus, total int, err error)
	// Import adds statuses with their ids and times, all or none. Errors are
	// those of Create and [customstatus.ErrIDInUse]. Only this library on bbolt
	// takes a longer import than 50,000 in parts of that size.
	Import(statuses []customstatus.CustomUserStatus) error
	// Close frees everything. A durable contestant can be opened again.
	Close() error
}

// Kind is one way to keep a catalog.
type Kind struct {
	// Name is what the benchmarks call it.
	Name string
	// Durable says that it keeps its data in the directory given to Open, and
	// that a write is on disk when it returns.
	Durable bool
	// WritesAs, if not empty, is the Kind that this one differs from only in
	// how one status is written. Everything else need not be timed twice.
	WritesAs string
	// Open opens the catalog in dir, which exists, or makes a new one.
	Open func(dir string) (Contestant, error)
}

// The names of the kinds that the targets speak of.
const (
	CustomStatusBolt   = "customstatus-bolt"
	CustomStatusMemory = "customstatus-memory"
	Bbolt              = "bbolt"
	BboltBatch10ms     = "bbolt-batch-10ms"
	BboltBatch1ms      = "bbolt-batch-1ms"
	Bolthold           = "bolthold"
	SQLite             = "sqlite"
	BuntDB             = "buntdb"
	MemDB              = "go-memdb"
	RWMutex            = "rwmutex-maps"
)

// All returns every kind: this library first, then the durable ones, then those
// in memory.
func All() []Kind {
	return []Kind{
		{Name: CustomStatusBolt, Durable: true, Open: openCustomStatusBolt},
		{Name: CustomStatusMemory, Open: openCustomStatusMemory},
		{Name: Bbolt, Durable: true, Open: openBbolt(0)},
		{Name: BboltBatch10ms, Durable: true, WritesAs: Bbolt, Open: openBbolt(10 * time.Millisecond)},
		{Name: BboltBatch1ms, Durable: true, WritesAs: Bbolt, Open: openBbolt(time.Millisecond)},
		{Name: Bolthold, Durable: true, Open: openBolthold},
		{Name: SQLite, Durable: true, Open: openSQLite},
		{Name: BuntDB, Durable: true, Open: openBuntDB},
		{Name: MemDB, Open: openMemDB},
		{Name: RWMutex, Open: openRWMutex},
	}
}

// Named returns the kind with the name, which must be one of the above.
func Named(name string) Kind {
	for _, kind := range All() {
		if kind.Name == name {
			return kind
		}
	}
	panic("contestant: nobody is called " + name)
}

// newStatus is what every rival's Create makes of its fields: the same check,
// the same kind of id and the same resolution of time as the catalog's.
func newStatus(f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	if err := (customstatus.Rules{}).Check(f); err != nil {
		return customstatus.CustomUserStatus{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return customstatus.CustomUserStatus{}, err
	}
	return customstatus.CustomUserStatus{ID: id.String(), Name: f.Name, StatusType: f.StatusType, UpdatedAt: now()}, nil
}

// changedStatus is what every rival's Update makes of its fields.
func changedStatus(id string, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	if err := (customstatus.Rules{}).Check(f); err != nil {
		return customstatus.CustomUserStatus{}, err
	}
	return customstatus.CustomUserStatus{ID: id, Name: f.Name, StatusType: f.StatusType, UpdatedAt: now()}, nil
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// checkAll checks what is to be imported.
func checkAll(statuses []customstatus.CustomUserStatus) error {
	for _, s := range statuses {
		if err := (customstatus.Rules{}).Check(customstatus.Fields{Name: s.Name, StatusType: s.StatusType}); err != nil {
			return err
		}
	}
	return nil
}
