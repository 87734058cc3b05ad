package contestant

import (
	"errors"
	"path/filepath"

	"github.com/tidwall/buntdb"

	"github.com/customstatus/customstatus"
)

// The prefixes of buntDB's keys: records by id, and ids by name. An index over the field
// in the JSON would parse a record at each step of a search.
const (
	buntStatus = "status:"
	buntName   = "name:"
)

// buntDB is tidwall/buntdb, which has all keys in memory and syncs a log at each commit.
type buntDB struct {
	db *buntdb.DB
}

func openBuntDB(dir string) (Contestant, error) {
	db, err := buntdb.Open(filepath.Join(dir, "status.aof"))
	if err != nil {
		return nil, err
	}
	var config buntdb.Config
	if err := db.ReadConfig(&config); err != nil {
		db.Close()
		return nil, err
	}
	config.SyncPolicy = buntdb.Always
	if err := db.SetConfig(config); err != nil {
		db.Close()
		return nil, err
	}
	return &buntDB{db: db}, nil
}

func (d *buntDB) GetByID(id string) (s customstatus.CustomUserStatus, err error) {
	err = d.db.View(func(tx *buntdb.Tx) error {
		s, err = buntGet(tx, id)
		return err
	})
	return s, err
}

func (d *buntDB) GetByName(name string) (s customstatus.CustomUserStatus, err error) {
	err = d.db.View(func(tx *buntdb.Tx) error {
		id, err := tx.Get(buntName + name)
		if err != nil {
			return buntError(err)
		}
		s, err = buntGet(tx, id)
		return err
	})
	return s, err
}

func buntGet(tx *buntdb.Tx, id string) (customstatus.CustomUserStatus, error) {
	data, err := tx.Get(buntStatus + id)
	if err != nil {
		return customstatus.CustomUserStatus{}, buntError(err)
	}
	return decode(id, []byte(data))
}

func buntPut(tx *buntdb.Tx, s customstatus.CustomUserStatus) error {
	data, err := encode(s)
	if err != nil {
		return err
	}
	if _, _, err := tx.Set(buntStatus+s.ID, string(data), nil); err != nil {
		return err
	}
	_, _, err = tx.Set(buntName+s.Name, s.ID, nil)
	return err
}

// buntFree returns taken if the key is there.
func buntFree(tx *buntdb.Tx, key string, taken error) error {
	switch _, err := tx.Get(key); {
	case err == nil:
		return taken
	case errors.Is(err, buntdb.ErrNotFound):
		return nil
	default:
		return err
	}
}

func (d *buntDB) Create(f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	s, err := newStatus(f)
	if err != nil {
		return s, err
	}
	return s, d.db.Update(func(tx *buntdb.Tx) error {
		if err := buntFree(tx, buntName+s.Name, customstatus.ErrNameInUse); err != nil {
			return err
		}
		return buntPut(tx, s)
	})
}

func (d *buntDB) Update(id string, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	s, err := changedStatus(id, f)
	if err != nil {
		return s, err
	}
	return s, d.db.Update(func(tx *buntdb.Tx) error {
		old, err := buntGet(tx, id)
		if err != nil {
			return err
		}
		if old.Name == s.Name {
			data, err := encode(s)
			if err != nil {
				return err
			}
			_, _, err = tx.Set(buntStatus+id, string(data), nil)
			return err
		}
		if err := buntFree(tx, buntName+s.Name, customstatus.ErrNameInUse); err != nil {
			return err
		}
		if _, err := tx.Delete(buntName + old.Name); err != nil {
			return err
		}
		return buntPut(tx, s)
	})
}

func (d *buntDB) List(offset, limit int) (page []customstatus.CustomUserStatus, total int, err error) {
	err = d.db.View(func(tx *buntdb.Tx) error {
		keys, err := tx.Len()
		if err != nil {
			return err
		}
		total = keys / 2 // each status has a record and a name
		page = make([]customstatus.CustomUserStatus, 0, max(0, min(limit, total-offset)))
		if limit <= 0 {
			return nil
		}
		var bad error
		err = tx.AscendKeys(buntName+"*", func(_, id string) bool {
			if offset > 0 {
				offset--
				return true
			}
			var s customstatus.CustomUserStatus
			if s, bad = buntGet(tx, id); bad != nil {
				return false
			}
			page = append(page, s)
			return len(page) < limit
		})
		return errors.Join(err, bad)
	})
	return page, total, err
}

func (d *buntDB) Import(in []customstatus.CustomUserStatus) error {
	if err := checkAll(in); err != nil {
		return err
	}
	return d.db.Update(func(tx *buntdb.Tx) error {
		for _, s := range in {
			if err := buntFree(tx, buntStatus+s.ID, customstatus.ErrIDInUse); err != nil {
				return err
			}
			if err := buntFree(tx, buntName+s.Name, customstatus.ErrNameInUse); err != nil {
				return err
			}
			if err := buntPut(tx, s); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *buntDB) Close() error { return d.db.Close() }

func buntError(err error) error {
	if errors.Is(err, buntdb.ErrNotFound) {
		return customstatus.ErrNotFound
	}
	return err
}
