package main

import (
	"errors"
	"os"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

// errSessionsLocked says that another server has kept the lock of a shared file for long.
var errSessionsLocked = errors.New("another server has locked the sessions")

// lockShared keeps other servers from changing a shared file, and reads what they have
// changed, until the returned function is called. Where no lock can be made, such as in a
// directory that can only be read, nothing can be saved either, and save says so. With
// [errSessionsLocked] nothing may be saved: whoever has the lock will save what it has read.
func (s *sessions) lockShared() (unlock func(), err error) {
	if !s.shared {
		return func() {}, nil
	}
	s.sharing.Lock()
	lock, err := s.lock()
	s.readShared()
	return func() {
		if lock != nil {
			_ = lock.Close()
		}
		s.sharing.Unlock()
	}, err
}

// sessionLockPatience is how long a browser that signs in waits for another server. One
// that is frozen while it has the lock keeps it.
const sessionLockPatience = 5 * time.Second

// lock returns the lock of a shared file, or nil if there can be none. While a goroutine
// waits beyond the patience, nobody else waits.
func (s *sessions) lock() (*lockedfile.File, error) {
	select {
	case s.locking <- struct{}{}:
	default:
		return nil, errSessionsLocked
	}
	got, late := make(chan *lockedfile.File), make(chan struct{})
	defer close(late)
	go func() {
		lock, err := lockTokens(place{given: s.path, path: s.path, database: s.database})
		if err != nil {
			lock = nil
		}
		<-s.locking
		select {
		case got <- lock:
		case <-late:
			if lock != nil {
				_ = lock.Close()
			}
		}
	}()
	patience := time.NewTimer(s.patience)
	defer patience.Stop()
	select {
	case lock := <-got:
		return lock, nil
	case <-patience.C:
		return nil, errSessionsLocked
	}
}

// refreshShared reads a shared file that has changed, at most once a second, and at once
// for a session that is not known: another server may have just begun it.
func (s *sessions) refreshShared(id tokenauth.Hash) {
	if !s.shared {
		return
	}
	now := s.now()
	s.mu.Lock()
	_, found := s.byID[id]
	look := !found || now.Sub(s.checked) >= tokensCheckEvery
	if look {
		s.checked = now
	}
	s.mu.Unlock()
	if look {
		s.readShared()
	}
}

// readShared reads a shared file if another server has replaced it. A file that can't be
// read changes nothing.
func (s *sessions) readShared() {
	info, err := os.Lstat(s.path)
	if err != nil {
		return
	}
	s.mu.Lock()
	before := s.info
	s.mu.Unlock()
	if unchanged(info, before) {
		return
	}
	records, err := readSessions(s.path, s.database)
	if err != nil {
		s.log.Warn("the sessions of the other servers can't be read", "error", err)
		return
	}
	s.adopt(records, info, before)
}

// adopt makes records the sessions, which were read from the file with info when before
// was the last one. If another reader was faster, it changes nothing: a session may have
// begun since, and records would not have it.
func (s *sessions) adopt(records []sessionRecord, info, before os.FileInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.info != before {
		return
	}
	s.info = info
	s.set(records)
	if s.recheck != nil {
		s.recheck()
	}
}
