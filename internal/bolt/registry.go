package bolt

import (
	"fmt"
	"sync"

	"github.com/customstatus/customstatus/internal/sentinel"
	"go.etcd.io/bbolt"
)

// registry records which catalogs in hosts' databases are open.
type registry struct {
	mu   sync.Mutex
	open map[place]struct{}
}

type place struct {
	db   *bbolt.DB
	name string
}

// hosted is global because two parts of a process that open the same catalog
// share only the database, which can't hold such a record. The file lock
// excludes other processes and other databases on the same file.
var hosted = registry{open: make(map[place]struct{})}

// enter records that a catalog is open. [sentinel.ErrLocked] is returned when
// the catalog is open already.
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

// leave undoes enter.
func (r *registry) leave(db *bbolt.DB, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, place{db, name})
}
