package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/customstatus/customstatus/internal/sentinel"
)

// inPlace returns an error if the open file is not the one at its path, or is
// shorter than it was.
func (s *Store) inPlace() error {
	if s.file == nil {
		return nil
	}
	reached := s.size.Load() // before the look at the file, which grows meanwhile
	size, err := s.locate()
	if errors.Is(err, fs.ErrPermission) {
		return nil // the process has given up the right to look
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

// locate returns the size of the file at the path, or an error if that is not
// the open one.
func (s *Store) locate() (int64, error) {
	size, same, err := atPath(s.path, s.info)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("the file is no longer in its place, what is written to it would be lost: %w", err)
	case err != nil:
		err = fmt.Errorf("it cannot be told whether the file is still in its place: %w", err)
	case !same:
		err = errors.New("another file has taken its place, what is written to the open one would be lost")
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
