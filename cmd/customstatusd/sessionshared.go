package main

import (
	"os"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

// lockShared keeps other servers from changing a shared file, and reads what they have
// changed, until the returned function is called. Where no lock can be made, such as in a
// directory that can only be read, nothing can be saved either, and save says so.
func (s *sessions) lockShared() (unlock func()) {
	if !s.shared {
		return func() {}
	}
	lock := s.lock()
	s.readShared()
	if lock == nil {
		return func() {}
	}
	return func() { _ = lock.Close() }
}

// sessionLockPatience is how long a browser that signs in waits for another server. One
// that is frozen while it has the lock keeps it.
const sessionLockPatience = 5 * time.Second

// lock returns the lock of a shared file, or nil. Without it, two servers that save at the
// same instant keep only what one of them saves. One goroutine at most waits beyond the
// patience.
func (s *sessions) lock() *lockedfile.File {
	patience := time.NewTimer(s.patience)
	defer patience.Stop()
	got, late := make(chan *lockedfile.File), make(chan struct{})
	defer close(late)
	wait := func() {
		defer func() { <-s.locking }()
		lock, err := lockTokens(place{given: s.path, path: s.path, database: s.database})
		if err != nil {
			lock = nil
		}
		select {
		case got <- lock:
		case <-late:
			if lock != nil {
				_ = lock.Close()
			}
		}
	}
	for turn := s.locking; ; {
		select {
		case turn <- struct{}{}:
			turn = nil
			go wait()
		case lock := <-got:
			return lock
		case <-patience.C:
			s.log.Warn("the sessions are locked by another server", "waited", s.patience)
			return nil
		}
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
