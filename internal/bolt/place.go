package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/customstatus/customstatus/internal/sentinel"
)

// inPlace returns an error if the open file is no longer the file at its path,
// or has become shorter.
func (s *Store) inPlace() error {
	if s.file == nil {
		return nil
	}
	reached := s.size.Load() // read first, because the file may grow meanwhile
	size, err := s.locate()
	if errors.Is(err, fs.ErrPermission) {
		return nil // the process has dropped the permission to look
	}
	if err == nil && size < reached {
		err = fmt.Errorf("%w: the file was cut from %d bytes to %d while it was open", sentinel.ErrDamaged, reached, size)
		s.refuse(err, true)
		return s.refused()
	}
	if err == nil {
		s.size.Store(size)
	}
	return err
}

// locate returns the size of the file at the store's path, or an error if that
// file is not the open one.
func (s *Store) locate() (int64, error) {
	size, same, err := atPath(s.path, s.info)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("the file is no longer at its path, further writes would be lost: %w", err)
	case err != nil:
		err = fmt.Errorf("the file can't be found at its path: %w", err)
	case !same:
		err = errors.New("another file has taken its place, further writes to the open file would be lost")
	}
	return size, err
}

func statPath(path string, info os.FileInfo) (size int64, same bool, err error) {
	at, err := os.Stat(path)
	if err != nil {
		return 0, false, err
	}
	return at.Size(), os.SameFile(at, info), nil
}
