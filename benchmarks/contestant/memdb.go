package contestant

import (
	"sync/atomic"

	"github.com/hashicorp/go-memdb"

	"github.com/customstatus/customstatus"
)

const (
	memTable = "status"
	memID    = "id"
	memName  = "name"
)

// memDB is hashicorp/go-memdb. go-memdb does not enforce a unique secondary index, so
// each write looks the name up first, in the same transaction. go-memdb has one writing
// transaction at a time.
type memDB struct {
	db    *memdb.MemDB
	total atomic.Int64 // go-memdb doesn't know
}

func openMemDB(string) (Contestant, error) {
	db, err := memdb.NewMemDB(&memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		memTable: {Name: memTable, Indexes: map[string]*memdb.IndexSchema{
			memID:   {Name: memID, Unique: true, Indexer: &memdb.StringFieldIndex{Field: "ID"}},
			memName: {Name: memName, Unique: true, Indexer: &memdb.StringFieldIndex{Field: "Name"}},
		}},
	}})
	if err != nil {
		return nil, err
	}
	return &memDB{db: db}, nil
}

func memGet(tx *memdb.Txn, index, key string) (customstatus.CustomUserStatus, error) {
	v, err := tx.First(memTable, index, key)
	if err != nil {
		return customstatus.CustomUserStatus{}, err
	}
	if v == nil {
		return customstatus.CustomUserStatus{}, customstatus.ErrNotFound
	}
	return *v.(*customstatus.CustomUserStatus), nil
}

// memFree returns taken if the key is there.
func memFree(tx *memdb.Txn, index, key string, taken error) error {
	v, err := tx.First(memTable, index, key)
	if err == nil && v != nil {
		return taken
	}
	return err
}

func (d *memDB) GetByID(id string) (customstatus.CustomUserStatus, error) {
	return memGet(d.db.Txn(false), memID, id)
}

func (d *memDB) GetByName(name string) (customstatus.CustomUserStatus, error) {
	return memGet(d.db.Txn(false), memName, name)
}

func (d *memDB) Create(f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	s, err := newStatus(f)
	if err != nil {
		return s, err
	}
	tx := d.db.Txn(true)
	defer tx.Abort() // of no effect after Commit
	if err := memFree(tx, memName, s.Name, customstatus.ErrNameInUse); err != nil {
		return s, err
	}
	if err := tx.Insert(memTable, &s); err != nil {
		return s, err
	}
	tx.Commit()
	d.total.Add(1)
	return s, nil
}

func (d *memDB) Update(id string, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	s, err := changedStatus(id, f)
	if err != nil {
		return s, err
	}
	tx := d.db.Txn(true)
	defer tx.Abort()
	old, err := memGet(tx, memID, id)
	if err != nil {
		return s, err
	}
	if old.Name != s.Name {
		if err := memFree(tx, memName, s.Name, customstatus.ErrNameInUse); err != nil {
			return s, err
		}
	}
	if err := tx.Insert(memTable, &s); err != nil {
		return s, err
	}
	tx.Commit()
	return s, nil
}

func (d *memDB) List(offset, limit int) ([]customstatus.CustomUserStatus, int, error) {
	total := int(d.total.Load())
	all, err := d.db.Txn(false).Get(memTable, memName)
	if err != nil {
		return nil, 0, err
	}
	page := make([]customstatus.CustomUserStatus, 0, max(0, min(limit, total-offset)))
	for ; offset > 0; offset-- {
		if all.Next() == nil {
			break
		}
	}
	for len(page) < limit {
		v := all.Next()
		if v == nil {
			break
		}
		page = append(page, *v.(*customstatus.CustomUserStatus))
	}
	return page, total, nil
}

func (d *memDB) Import(in []customstatus.CustomUserStatus) error {
	if err := checkAll(in); err != nil {
		return err
	}
	tx := d.db.Txn(true)
	defer tx.Abort()
	for _, s := range in {
		if err := memFree(tx, memID, s.ID, customstatus.ErrIDInUse); err != nil {
			return err
		}
		if err := memFree(tx, memName, s.Name, customstatus.ErrNameInUse); err != nil {
			return err
		}
		if err := tx.Insert(memTable, &s); err != nil {
			return err
		}
	}
	tx.Commit()
	d.total.Add(int64(len(in)))
	return nil
}

func (d *memDB) Close() error { return nil }
