package contestant

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus"
)

// The floors are no contestants. They show what the machine allows at best.
const (
	// MapFloor is a get from a plain map behind an atomic pointer. Nothing that
	// readers share with writers is faster. The map can't be written, because
	// each change would copy all of the map.
	MapFloor = "floor-map"
	// ContainsFloor is strings.Contains over a slice of all names, which are
	// folded in advance. The slice can't be written.
	ContainsFloor = "floor-contains"
	// PassFloor looks once at each status of a catalog.
	PassFloor = "floor-pass"
	// SyncFloor writes one block to a file and syncs it. No durable write costs
	// less.
	SyncFloor = "floor-sync"
	// GroupFloor is a record's share of a bbolt transaction that appends many
	// records and does nothing else. No create costs less, even when writers
	// share commits without waiting for each other.
	GroupFloor = "floor-group"
	// StreamFloor is a bare net/http handler that writes the same bytes to the
	// same number of event streams.
	StreamFloor = "floor-streams"
	// HTTPFloor is a bare net/http handler that answers with the same bytes.
	HTTPFloor = "floor-http"
	// PostgresFloor and EtcdFloor are stores written by hand for creates alone, on a
	// server of their own.
	PostgresFloor = "floor-postgres"
	EtcdFloor     = "floor-etcd"
)

// maps holds the two maps of NewMapFloor.
type maps struct {
	byID, byName map[string]*customstatus.CustomUserStatus
}

type mapFloor struct {
	current atomic.Pointer[maps]
}

// NewMapFloor returns a MapFloor with the statuses.
func NewMapFloor(statuses []customstatus.CustomUserStatus) Reader {
	m := &maps{
		byID:   make(map[string]*customstatus.CustomUserStatus, len(statuses)),
		byName: make(map[string]*customstatus.CustomUserStatus, len(statuses)),
	}
	for _, s := range statuses {
		m.byID[s.ID], m.byName[s.Name] = &s, &s
	}
	f := &mapFloor{}
	f.current.Store(m)
	return f
}

func (f *mapFloor) GetByID(id string) (customstatus.CustomUserStatus, error) {
	if s := f.current.Load().byID[id]; s != nil {
		return *s, nil
	}
	return customstatus.CustomUserStatus{}, customstatus.ErrNotFound
}

func (f *mapFloor) GetByName(name string) (customstatus.CustomUserStatus, error) {
	if s := f.current.Load().byName[name]; s != nil {
		return *s, nil
	}
	return customstatus.CustomUserStatus{}, customstatus.ErrNotFound
}

// FoldedNames is the ContainsFloor.
type FoldedNames []string

// NewFoldedNames returns the folded names of the statuses.
func NewFoldedNames(statuses []customstatus.CustomUserStatus) FoldedNames {
	names := make(FoldedNames, len(statuses))
	for i, s := range statuses {
		names[i] = strings.ToUpper(s.Name)
	}
	return names
}

// Count returns the number of names that contain the folded part.
func (n FoldedNames) Count(part string) (count int) {
	for _, name := range n {
		if strings.Contains(name, part) {
			count++
		}
	}
	return count
}

// A Sync writes its file over and over within this size, so that no sync makes the file
// longer.
const (
	syncBlock  = 4 << 10
	syncBlocks = 1024
)

// Sync is the SyncFloor.
type Sync struct {
	file  *os.File
	block [syncBlock]byte
	next  int64
}

// OpenSync makes the file of a Sync in dir.
func OpenSync(dir string) (*Sync, error) {
	file, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		return nil, err
	}
	s := &Sync{file: file}
	for range syncBlocks {
		if err := s.write(); err != nil {
			file.Close()
			return nil, err
		}
	}
	if err := file.Sync(); err != nil {
		file.Close()
		return nil, err
	}
	return s, nil
}

func (s *Sync) write() error {
	s.block[0]++ // so that no layer finds it unchanged
	_, err := s.file.WriteAt(s.block[:], s.next%syncBlocks*syncBlock)
	s.next++
	return err
}

// Write writes one block and syncs it. It must not be called concurrently.
func (s *Sync) Write() error {
	if err := s.write(); err != nil {
		return err
	}
	return datasync(s.file)
}

// Close closes the file.
func (s *Sync) Close() error { return s.file.Close() }

// Group is the GroupFloor.
type Group struct{ db *bbolt.DB }

// OpenGroup makes the file of a Group in dir, with the statuses.
func OpenGroup(dir string, statuses []customstatus.CustomUserStatus) (*Group, error) {
	db, err := bbolt.Open(filepath.Join(dir, "floor"), 0o600, nil)
	if err != nil {
		return nil, err
	}
	g := &Group{db}
	if err := g.Write(statuses); err != nil {
		db.Close()
		return nil, err
	}
	return g, nil
}

// Write puts statuses in one transaction. Their ids must be sorted and after all ids in
// the file.
func (g *Group) Write(statuses []customstatus.CustomUserStatus) error {
	return g.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucketStatuses)
		if err != nil {
			return err
		}
		b.FillPercent = 0.9
		for _, s := range statuses {
			if err := b.Put([]byte(s.ID), []byte(s.ID+s.Name+string(s.StatusType))); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close closes the file.
func (g *Group) Close() error { return g.db.Close() }
