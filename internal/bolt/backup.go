package bolt

import (
	"context"
	"fmt"
	"io"
	"os"

	"go.etcd.io/bbolt"
)

// Backup writes a copy of the bbolt file to w, as it is at one instant between
// call and return, with everything that is in it. The copy is first made in a
// temporary file, and its structure is verified; so a slow w holds up no one.
func (s *Store) Backup(w io.Writer) error {
	if err := s.backup(w); err != nil {
		return fmt.Errorf("bolt: backup of %s: %w", s.path, err)
	}
	return nil
}

func (s *Store) backup(w io.Writer) error {
	spool, drop, err := newSpool(s.path)
	if err != nil {
		return err
	}
	defer drop()
	size, err := s.copyTo(spool)
	if err != nil {
		return err
	}
	if err := verify(spool, size); err != nil {
		return err
	}
	_, err = io.Copy(w, io.NewSectionReader(spool, 0, size))
	return err
}

// copyTo writes a copy of the file to spool. Only for this does the store have to
// be open.
func (s *Store) copyTo(spool *os.File) (size int64, err error) {
	s.life.RLock()
	defer s.life.RUnlock()
	if err := s.ready(context.Background()); err != nil {
		return 0, err
	}
	err = s.transaction(false, func(tx *bbolt.Tx) (err error) {
		size, err = tx.WriteTo(spool)
		return err
	})
	return size, err
}
