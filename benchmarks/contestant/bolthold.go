package contestant

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/timshannon/bolthold"
	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus"
)

// holdStatus and holdName are the two types that heldBolt keeps: statuses by id, and the
// index of names. Bolthold has its own unique indexes (the tag boltholdUnique), but its
// queries read an index from the start. With these, a get by name would be as slow as a
// list of everything. A second type costs the same to write and is found at once. Both
// types name their bucket, so that bolthold needs no reflection for that.
type (
	holdStatus record
	holdName   struct {
		Name string `json:"-" boltholdKey:"Name"`
		ID   string `json:"id"`
	}
)

func (*holdStatus) Type() string                                 { return "statuses" }
func (*holdStatus) Indexes() map[string]bolthold.Index           { return nil }
func (*holdStatus) SliceIndexes() map[string]bolthold.SliceIndex { return nil }
func (*holdName) Type() string                                   { return "names" }
func (*holdName) Indexes() map[string]bolthold.Index             { return nil }
func (*holdName) SliceIndexes() map[string]bolthold.SliceIndex   { return nil }

// heldBolt is timshannon/bolthold.
type heldBolt struct {
	store *bolthold.Store
}

func openBolthold(dir string) (Contestant, error) {
	store, err := bolthold.Open(filepath.Join(dir, "status.db"), 0o600, &bolthold.Options{
		// Raw keys keep their order. gob, the default, loses the order and is
		// slower for records of this size.
		Encoder: func(v any) ([]byte, error) {
			if key, ok := v.(string); ok {
				return []byte(key), nil
			}
			return json.Marshal(v)
		},
		Decoder: func(data []byte, v any) error {
			if key, ok := v.(*string); ok {
				*key = string(data)
				return nil
			}
			return json.Unmarshal(data, v)
		},
		Options: &bbolt.Options{Timeout: time.Second},
	})
	if err != nil {
		return nil, err
	}
	return &heldBolt{store: store}, nil
}

func (h *heldBolt) GetByID(id string) (customstatus.CustomUserStatus, error) {
	var s holdStatus
	if err := h.store.Get(id, &s); err != nil {
		return customstatus.CustomUserStatus{}, holdError(err)
	}
	return record(s).status(id), nil
}

func (h *heldBolt) GetByName(name string) (customstatus.CustomUserStatus, error) {
	var (
		n holdName
		s holdStatus
	)
	err := h.store.Bolt().View(func(tx *bbolt.Tx) error {
		if err := h.store.TxGet(tx, name, &n); err != nil {
			return err
		}
		return h.store.TxGet(tx, n.ID, &s)
	})
	if err != nil {
		return customstatus.CustomUserStatus{}, holdError(err)
	}
	return record(s).status(n.ID), nil
}

func (h *heldBolt) Create(f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	s, err := newStatus(f)
	if err != nil {
		return s, err
	}
	err = h.store.Bolt().Update(func(tx *bbolt.Tx) error {
		if err := h.insertName(tx, s); err != nil {
			return err
		}
		if err := h.insertStatus(tx, s); err != nil {
			return err
		}
		return h.grow(tx, 1)
	})
	return s, err
}

func (h *heldBolt) insertName(tx *bbolt.Tx, s customstatus.CustomUserStatus) error {
	err := h.store.TxInsert(tx, s.Name, &holdName{Name: s.Name, ID: s.ID})
	if errors.Is(err, bolthold.ErrKeyExists) {
		return customstatus.ErrNameInUse
	}
	return err
}

func (h *heldBolt) insertStatus(tx *bbolt.Tx, s customstatus.CustomUserStatus) error {
	r := holdStatus(newRecord(s))
	err := h.store.TxInsert(tx, s.ID, &r)
	if errors.Is(err, bolthold.ErrKeyExists) {
		return customstatus.ErrIDInUse
	}
	return err
}

// grow adds to the number of statuses, which is stored as in handBolt.
func (h *heldBolt) grow(tx *bbolt.Tx, by int) error {
	b := tx.Bucket([]byte((*holdStatus)(nil).Type()))
	if b == nil {
		return nil
	}
	return b.SetSequence(b.Sequence() + uint64(by))
}

func (h *heldBolt) Update(id string, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	s, err := changedStatus(id, f)
	if err != nil {
		return s, err
	}
	err = h.store.Bolt().Update(func(tx *bbolt.Tx) error {
		var old holdStatus
		if err := h.store.TxGet(tx, id, &old); err != nil {
			return holdError(err)
		}
		if old.Name != s.Name {
			if err := h.insertName(tx, s); err != nil {
				return err
			}
			if err := h.store.TxDelete(tx, old.Name, &holdName{}); err != nil {
				return err
			}
		}
		r := holdStatus(newRecord(s))
		return h.store.TxUpdate(tx, id, &r)
	})
	return s, err
}

func (h *heldBolt) List(offset, limit int) (page []customstatus.CustomUserStatus, total int, err error) {
	err = h.store.Bolt().View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte((*holdStatus)(nil).Type()))
		if b == nil {
			return nil
		}
		total = int(b.Sequence())
		page = make([]customstatus.CustomUserStatus, 0, max(0, min(limit, total-offset)))
		return h.store.TxForEach(tx, (&bolthold.Query{}).Skip(offset).Limit(limit), func(n *holdName) error {
			var s holdStatus
			if err := h.store.TxGet(tx, n.ID, &s); err != nil {
				return err
			}
			page = append(page, record(s).status(n.ID))
			return nil
		})
	})
	return page, total, err
}

func (h *heldBolt) Import(in []customstatus.CustomUserStatus) error {
	if err := checkAll(in); err != nil {
		return err
	}
	byID := slices.Clone(in)
	slices.SortFunc(byID, func(a, b customstatus.CustomUserStatus) int { return strings.Compare(a.ID, b.ID) })
	byName := slices.Clone(in)
	slices.SortFunc(byName, func(a, b customstatus.CustomUserStatus) int { return strings.Compare(a.Name, b.Name) })
	return h.store.Bolt().Update(func(tx *bbolt.Tx) error {
		for _, s := range byID {
			if err := h.insertStatus(tx, s); err != nil {
				return err
			}
		}
		for _, s := range byName {
			if err := h.insertName(tx, s); err != nil {
				return err
			}
		}
		return h.grow(tx, len(in))
	})
}

func (h *heldBolt) Close() error { return h.store.Close() }

func holdError(err error) error {
	if errors.Is(err, bolthold.ErrNotFound) {
		return customstatus.ErrNotFound
	}
	return err
}
