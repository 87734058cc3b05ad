package contestant

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus"
)

// The buckets of handBolt. The sequence of bucketStatuses holds the number of statuses.
// It is in the bucket's header, which each commit writes anyway.
var (
	bucketStatuses = []byte("statuses") // id to record
	bucketNames    = []byte("names")    // name to id
)

// handBolt is a catalog written by hand over bbolt: records as JSON, and a second bucket
// as the index of names.
type handBolt struct {
	db    *bbolt.DB
	write func(func(*bbolt.Tx) error) error // db.Update or db.Batch
}

// openBbolt opens a handBolt that writes with db.Update, or with db.Batch if delay is
// not 0.
func openBbolt(delay time.Duration) func(string) (Contestant, error) {
	return func(dir string) (Contestant, error) {
		db, err := bbolt.Open(filepath.Join(dir, "status.db"), 0o600, &bbolt.Options{Timeout: time.Second})
		if err != nil {
			return nil, err
		}
		if err := makeBuckets(db); err != nil {
			db.Close()
			return nil, err
		}
		h := &handBolt{db: db, write: db.Update}
		if delay != 0 {
			db.MaxBatchDelay = delay
			h.write = db.Batch
		}
		return h, nil
	}
}

func makeBuckets(db *bbolt.DB) error {
	there := false
	err := db.View(func(tx *bbolt.Tx) error {
		there = tx.Bucket(bucketStatuses) != nil
		return nil
	})
	if there || err != nil {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucket(bucketStatuses); err != nil {
			return err
		}
		_, err := tx.CreateBucket(bucketNames)
		return err
	})
}

func (h *handBolt) GetByID(id string) (s customstatus.CustomUserStatus, err error) {
	err = h.db.View(func(tx *bbolt.Tx) error {
		data := tx.Bucket(bucketStatuses).Get([]byte(id))
		if data == nil {
			return customstatus.ErrNotFound
		}
		s, err = decode(id, data)
		return err
	})
	return s, err
}

func (h *handBolt) GetByName(name string) (s customstatus.CustomUserStatus, err error) {
	err = h.db.View(func(tx *bbolt.Tx) error {
		id := tx.Bucket(bucketNames).Get([]byte(name))
		if id == nil {
			return customstatus.ErrNotFound
		}
		s, err = decode(string(id), tx.Bucket(bucketStatuses).Get(id))
		return err
	})
	return s, err
}

func (h *handBolt) Create(f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	s, err := newStatus(f)
	if err != nil {
		return s, err
	}
	data, err := encode(s)
	if err != nil {
		return s, err
	}
	err = h.write(func(tx *bbolt.Tx) error {
		names, statuses := tx.Bucket(bucketNames), tx.Bucket(bucketStatuses)
		if names.Get([]byte(s.Name)) != nil {
			return customstatus.ErrNameInUse
		}
		if err := names.Put([]byte(s.Name), []byte(s.ID)); err != nil {
			return err
		}
		if err := statuses.Put([]byte(s.ID), data); err != nil {
			return err
		}
		return statuses.SetSequence(statuses.Sequence() + 1)
	})
	return s, err
}

func (h *handBolt) Update(id string, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	s, err := changedStatus(id, f)
	if err != nil {
		return s, err
	}
	data, err := encode(s)
	if err != nil {
		return s, err
	}
	err = h.write(func(tx *bbolt.Tx) error {
		names, statuses := tx.Bucket(bucketNames), tx.Bucket(bucketStatuses)
		was := statuses.Get([]byte(id))
		if was == nil {
			return customstatus.ErrNotFound
		}
		old, err := decode(id, was)
		if err != nil {
			return err
		}
		if old.Name != s.Name {
			if names.Get([]byte(s.Name)) != nil {
				return customstatus.ErrNameInUse
			}
			if err := names.Delete([]byte(old.Name)); err != nil {
				return err
			}
			if err := names.Put([]byte(s.Name), []byte(id)); err != nil {
				return err
			}
		}
		return statuses.Put([]byte(id), data)
	})
	return s, err
}

func (h *handBolt) List(offset, limit int) (page []customstatus.CustomUserStatus, total int, err error) {
	err = h.db.View(func(tx *bbolt.Tx) error {
		statuses := tx.Bucket(bucketStatuses)
		total = int(statuses.Sequence())
		page = make([]customstatus.CustomUserStatus, 0, max(0, min(limit, total-offset)))
		c := tx.Bucket(bucketNames).Cursor()
		name, id := c.First()
		for ; name != nil && offset > 0; offset-- {
			name, id = c.Next()
		}
		for ; name != nil && len(page) < limit; name, id = c.Next() {
			s, err := decode(string(id), statuses.Get(id))
			if err != nil {
				return err
			}
			page = append(page, s)
		}
		return nil
	})
	return page, total, err
}

func (h *handBolt) Import(in []customstatus.CustomUserStatus) error {
	if err := checkAll(in); err != nil {
		return err
	}
	// bbolt writes sorted keys many times faster than unsorted ones.
	byID := slices.Clone(in)
	slices.SortFunc(byID, func(a, b customstatus.CustomUserStatus) int { return strings.Compare(a.ID, b.ID) })
	byName := slices.Clone(in)
	slices.SortFunc(byName, func(a, b customstatus.CustomUserStatus) int { return strings.Compare(a.Name, b.Name) })
	return h.db.Update(func(tx *bbolt.Tx) error {
		names, statuses := tx.Bucket(bucketNames), tx.Bucket(bucketStatuses)
		for _, s := range byID {
			if statuses.Get([]byte(s.ID)) != nil {
				return customstatus.ErrIDInUse
			}
			data, err := encode(s)
			if err != nil {
				return err
			}
			if err := statuses.Put([]byte(s.ID), data); err != nil {
				return err
			}
		}
		for _, s := range byName {
			if names.Get([]byte(s.Name)) != nil {
				return customstatus.ErrNameInUse
			}
			if err := names.Put([]byte(s.Name), []byte(s.ID)); err != nil {
				return err
			}
		}
		return statuses.SetSequence(statuses.Sequence() + uint64(len(in)))
	})
}

func (h *handBolt) Close() error { return h.db.Close() }
