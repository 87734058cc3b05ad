// Package contestant puts this library and its alternatives for a chat server behind one
// interface, so that all of them are timed at the same work.
//
// Each contestant is written as well as its engine allows: with prepared statements, one
// connection that writes, and one transaction with sorted keys for an import. All
// contestants do the work of the catalog. They check the fields with the same
// [customstatus.Rules], make an id and a time, keep names unique under concurrency, and,
// if Durable, have a write on disk when it returns. The tests of this package check that.
package contestant

import (
	"time"

	"github.com/google/uuid"

	"github.com/customstatus/customstatus"
)

// Reader looks a status up. [customstatus.ErrNotFound] is returned when there is none.
type Reader interface {
	GetByID(id string) (customstatus.CustomUserStatus, error)
	GetByName(name string) (customstatus.CustomUserStatus, error)
}

// Contestant is a catalog of statuses with unique names. All methods except Close are
// safe for concurrent use.
type Contestant interface {
	Reader

	// Create adds a status with a new id. Errors are
	// [customstatus.ErrRequired], [customstatus.ErrInvalid] and
	// [customstatus.ErrNameInUse].
	Create(f customstatus.Fields) (customstatus.CustomUserStatus, error)
	// Update changes the name and the type of a status. Errors
	// are those of Create and [customstatus.ErrNotFound].
	Update(id string, f customstatus.Fields) (customstatus.CustomUserStatus, error)
	// List returns up to limit statuses in the order of their names, compared
	// byte by byte, and the number of all statuses.
	List(offset, limit int) (page []customstatus.CustomUserStatus, total int, err error)
	// Import adds statuses with their ids and times, all or none. Errors are
	// those of Create and [customstatus.ErrIDInUse]. This library on
	// bbolt splits an import of more than 50,000 into parts of that size.
	Import(statuses []customstatus.CustomUserStatus) error
	// Close frees everything. A durable contestant can be opened again.
	Close() error
}

// Kind is one way to keep a catalog.
type Kind struct {
	// Name is the name in the benchmarks.
	Name string
	// Durable says that the data is in the directory given to Open, and that a
	// write is on disk when it returns.
	Durable bool
	// WritesAs, if not empty, names the Kind from which this one differs only in
	// writes of one status. The rest is not timed twice.
	WritesAs string
	// Open opens the catalog in the existing directory dir, or makes a new one.
	Open func(dir string) (Contestant, error)
}

// The names of the kinds that have targets.
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

// The names of this library on shared stores. They are not among All: package cluster
// times them, on servers.
const (
	PGStore   = "pgstore"
	EtcdStore = "etcdstore"
)

// All returns every kind: this library first, then the other durable kinds, then the
// kinds in memory.
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

// Named returns the kind with the name. It panics if there is none.
func Named(name string) Kind {
	for _, kind := range All() {
		if kind.Name == name {
			return kind
		}
	}
	panic("contestant: no kind is named " + name)
}

// newStatus makes the status of a rival's Create. The check, the kind of id and the
// resolution of time are the catalog's.
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

// changedStatus makes the status of a rival's Update.
func changedStatus(id string, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	if err := (customstatus.Rules{}).Check(f); err != nil {
		return customstatus.CustomUserStatus{}, err
	}
	return customstatus.CustomUserStatus{ID: id, Name: f.Name, StatusType: f.StatusType, UpdatedAt: now()}, nil
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// checkAll checks the statuses of an import.
func checkAll(statuses []customstatus.CustomUserStatus) error {
	for _, s := range statuses {
		if err := (customstatus.Rules{}).Check(customstatus.Fields{Name: s.Name, StatusType: s.StatusType}); err != nil {
			return err
		}
	}
	return nil
}
