package bolt

import (
	"fmt"
	"sync"

	"github.com/customstatus/customstatus/internal/sentinel"
	"go.etcd.io/bbolt"
)

// registry knows which catalogs of the hosts' databases are open.
type registry struct {
	mu   sync.Mutex
	open map[place]struct{}
}

type place struct {
	db   *bbolt.DB
	name string
}

// hosted is global because two parts of a process that open one catalog share
// nothing but the database, and that has no room for a note. A file lock keeps
// other processes out, and other databases of the same file.
var hosted = registry{open: make(map[place]struct{})}

// enter notes that a catalog is open, or returns [sentinel.ErrLocked] if it is.
func (r *registry) enter(db *bbolt.DB, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := place{db, name}
	if _, taken := r.open[at]; taken {
		return fmt.Errorf("%w: another store of this process has the catalog open", sentinel.ErrLocked)
	}
	r.open[at] = struct{}{}
	return nil
}

// leave takes back what enter noted.
func (r *registry) leave(db *bbolt.DB, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, place{db, name})
}
