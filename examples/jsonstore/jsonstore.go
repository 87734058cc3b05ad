//go:build unix

// Package jsonstore is an example of a [customstatus.Store]: a JSON file that every commit replaces.
package jsonstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/customstatus/customstatus"
)

// Store is a [customstatus.Store] in the file statuses.json of a directory of its own. A commit survives power loss.
type Store struct {
	mu  sync.Mutex
	dir *os.File // locked until Close or the end of the process
}

// Open opens the store in an existing directory. [customstatus.ErrLocked] is returned when it is open already.
func Open(dir string) (*Store, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(customstatus.ErrLocked, err, d.Close())
	}
	return &Store{dir: d}, nil
}

func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.dir.Close() // fails in a second Close, which returns nil
	return nil
}

func (s *Store) Revision(ctx context.Context) (customstatus.Revision, error) {
	all, err := s.Load(ctx)
	return all.Revision, err
}

func (s *Store) Load(ctx context.Context) (customstatus.Contents, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read(ctx)
}

func (s *Store) read(ctx context.Context) (all customstatus.Contents, err error) {
	if err = s.dir.Sync(); errors.Is(err, os.ErrClosed) { // the revision returned below must be durable
		return all, customstatus.ErrClosed
	}
	file, readErr := os.ReadFile(s.dir.Name() + "/statuses.json")
	if err = errors.Join(ctx.Err(), err); err != nil || errors.Is(readErr, os.ErrNotExist) {
		return all, err // a new store is empty
	}
	sum, body, _ := bytes.Cut(file, []byte("\n"))
	if readErr != nil || string(sum) != fmt.Sprintf("\"%x\"", sha256.Sum256(body)) {
		return all, errors.Join(customstatus.ErrDamaged, readErr)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	for err = d.Decode(&all.Revision); err == nil && d.More(); {
		var status customstatus.CustomUserStatus
		err = errors.Join(d.Decode(&status), d.Decode(&status.Revision))
		all.Statuses = append(all.Statuses, status)
	}
	return all, err
}

func (s *Store) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.read(ctx)
	if err != nil {
		return 0, err
	} else if err := all.Apply(changes); err != nil {
		return 0, err
	}
	body := fmt.Appendln(nil, all.Revision)
	for _, status := range all.Statuses {
		body = fmt.Appendf(body, "%s %d\n", status.AppendExportJSON(nil), status.Revision)
	}
	f, err := os.Create(s.dir.Name() + "/statuses.json.new")
	_, writeErr := fmt.Fprintf(f, "\"%x\"\n%s", sha256.Sum256(body), body)
	if err = errors.Join(err, writeErr, f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	if err = errors.Join(os.Rename(f.Name(), s.dir.Name()+"/statuses.json"), s.dir.Sync()); err != nil {
		err = errors.Join(customstatus.ErrOutcomeUnknown, err)
	}
	return all.Revision, err
}
