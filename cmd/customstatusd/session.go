package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

// A browser's own EventSource sends no headers, and a page should not keep a token
// where scripts can read it. So a browser can exchange its token for a session: a
// random id in a cookie. The server keeps the hash of the id, and which token the
// session began with. The session ends with that token.
//
// The sessions are in a file of their own beside the database, because a plain
// EventSource that is answered 401 after a restart never comes back. The code is ours
// because the tokens decide about every session; a library for sessions would add its
// own file format and leave the rest to do.

// sessionsVersion is the version of the file's format.
const sessionsVersion = 1

// maxSessions is the greatest number of sessions of one token. A further session ends
// the oldest.
const maxSessions = 100

// mostSessions is the greatest number of all sessions, so that their file stays below
// maxRecords. A further session ends the oldest.
const mostSessions = 50_000

type sessionRecord struct {
	IDHash    tokenauth.Hash `json:"idHash"`
	UserID    string         `json:"userId"`
	TokenHash tokenauth.Hash `json:"tokenHash"`
	ExpiresAt time.Time      `json:"expiresAt"`
}

// sessionRecords is the content of the file.
type sessionRecords struct {
	Version  int             `json:"version"`
	Sessions []sessionRecord `json:"sessions"` // the oldest first
}

// sessions are the browsers' logins.
type sessions struct {
	path     string
	database string
	lifetime time.Duration
	tokens   *tokenFile
	log      *slog.Logger
	now      func() time.Time

	// shared says that other servers have the file, too. They share a catalog, and a
	// load balancer sends a browser to any of them.
	shared   bool
	sharing  sync.Mutex    // held from the read of a shared file to its replacement
	locking  chan struct{} // held by the goroutine that waits for the lock of a shared file
	patience time.Duration // for that lock

	saving sync.Mutex // held while the file is written, so that reads don't wait for that

	mu      sync.Mutex
	records []sessionRecord // the oldest first
	byID    map[tokenauth.Hash]sessionRecord
	recheck func()      // called when a session has ended
	expiry  *time.Timer // calls recheck when the next session expires
	info    os.FileInfo // of a shared file that the records were read from, or nil
	checked time.Time   // when a shared file was last looked at
}

// onEnd sets a function that is called whenever a session has ended. The function must
// not wait for a login.
func (s *sessions) onEnd(recheck func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recheck = recheck
	s.awaitExpiry()
}

// awaitExpiry sets the timer for the next session that expires. The caller holds the lock.
func (s *sessions) awaitExpiry() {
	if s.expiry != nil {
		s.expiry.Stop()
	}
	now := s.now()
	next := time.Time{}
	for _, r := range s.records {
		if now.Before(r.ExpiresAt) && (next.IsZero() || r.ExpiresAt.Before(next)) {
			next = r.ExpiresAt
		}
	}
	if next.IsZero() || s.recheck == nil {
		return
	}
	s.expiry = time.AfterFunc(next.Sub(now), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.recheck()
		s.awaitExpiry()
	})
}

// sessionsPath returns the path of the sessions file of a database.
func sessionsPath(database string) string { return strings.TrimSuffix(database, ".db") + ".sessions" }

// openSessions reads the file beside the database. A file that can't be read is no reason not to
// start: its browsers sign in again. With a lifetime of 0 there are no sessions.
func openSessions(database string, lifetime time.Duration, tokens *tokenFile, log *slog.Logger) *sessions {
	s := &sessions{path: sessionsPath(database), database: database, lifetime: lifetime, tokens: tokens, log: log, now: time.Now,
		locking: make(chan struct{}, 1), patience: sessionLockPatience}
	if lifetime == 0 {
		return s
	}
	records, err := readSessions(s.path, database)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the sessions can't be read, so browsers have to sign in again", "error", err)
	}
	s.set(records)
	return s
}

func readSessions(path, database string) ([]sessionRecord, error) {
	text, _, err := readTrusted(path, database)
	if err != nil {
		return nil, err
	}
	var read sessionRecords
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&read); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%s: data after the JSON value", path)
	}
	if read.Version != sessionsVersion {
		return nil, fmt.Errorf("%s: version %d; this program knows version %d", path, read.Version, sessionsVersion)
	}
	return read.Sessions, nil
}

// set makes records the sessions. The caller holds the lock, or is the only one.
func (s *sessions) set(records []sessionRecord) {
	s.records, s.byID = records, make(map[tokenauth.Hash]sessionRecord, len(records))
	for _, r := range records {
		s.byID[r.IDHash] = r
	}
	s.awaitExpiry()
}

// begin makes a session of the user's token and returns its id. Sessions that are over
// are forgotten.
func (s *sessions) begin(userID string, token tokenauth.Hash) (id string, made sessionRecord) {
	unlock, err := s.lockShared()
	defer unlock()
	id = tokenauth.NewSecret()
	now := s.now().UTC()
	made = sessionRecord{tokenauth.HashOf(id), userID, token, now.Add(s.lifetime).Truncate(time.Second)}
	s.mu.Lock()
	kept, ended := s.room(s.records, made, now)
	recheck := s.recheck
	s.set(append(kept, made))
	s.mu.Unlock()
	if ended && recheck != nil { // a stream of a session that ends, ends with it
		recheck()
	}
	if err == nil {
		err = s.save()
	}
	if err != nil {
		s.log.Error("the sessions can't be saved, so they end with the server, or when another one saves its own", "error", err)
	}
	return id, made
}

// room returns the records that stay when a session is added, and whether a session ends
// for it before its time.
func (s *sessions) room(records []sessionRecord, made sessionRecord, now time.Time) (kept []sessionRecord, ended bool) {
	same := 0
	for _, r := range slices.Backward(records) {
		if _, valid := s.tokens.tokens.Find(r.UserID, r.TokenHash); !valid || !now.Before(r.ExpiresAt) {
			continue
		}
		twin := r.UserID == made.UserID && r.TokenHash == made.TokenHash
		if twin && same == maxSessions-1 || len(kept) == mostSessions-1 {
			ended = true
			continue
		}
		if twin {
			same++
		}
		kept = append(kept, r)
	}
	slices.Reverse(kept)
	return kept, ended
}

// end ends the session with the id, if there is one. On error the session is over, but
// a restart, or another server that saves, would bring it back.
func (s *sessions) end(id string) error {
	unlock, err := s.lockShared()
	defer unlock()
	hash := tokenauth.HashOf(id)
	s.mu.Lock()
	_, found := s.byID[hash]
	recheck := s.recheck
	if found {
		s.set(slices.DeleteFunc(slices.Clone(s.records), func(r sessionRecord) bool { return r.IDHash == hash }))
	}
	s.mu.Unlock()
	if !found {
		return nil
	}
	recheck()
	if err != nil {
		return err
	}
	return s.save()
}

// find returns the session with the id and its token.
func (s *sessions) find(id string) (sessionRecord, tokenauth.Token, error) {
	s.tokens.refresh()
	s.refreshShared(tokenauth.HashOf(id))
	s.mu.Lock()
	r, found := s.byID[tokenauth.HashOf(id)]
	s.mu.Unlock()
	if !found || !s.now().Before(r.ExpiresAt) {
		return sessionRecord{}, tokenauth.Token{}, httpadapter.ErrUnauthenticated
	}
	token, found := s.tokens.tokens.Find(r.UserID, r.TokenHash)
	if !found {
		return sessionRecord{}, tokenauth.Token{}, httpadapter.ErrUnauthenticated
	}
	return r, token, nil
}

// save writes the file. It replaces a regular file and nothing else: another user may
// have planted a link or a pipe. What it replaces of another user's becomes its own.
func (s *sessions) save() error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	records := s.records
	s.mu.Unlock()
	directory, err := os.Stat(filepath.Dir(s.path))
	if err != nil {
		return err
	}
	old, err := os.Lstat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = nil
	case err != nil:
		return err
	case !old.Mode().IsRegular():
		return fmt.Errorf("%s is in the way: it is not a regular file", s.path)
	case trusted(s.path, s.database, old) != nil:
		old = nil
	}
	return writeAt(place{given: s.path, path: s.path}, true, old, directory, func(w io.Writer) error {
		return json.NewEncoder(w).Encode(sessionRecords{sessionsVersion, records})
	})
}

// authenticator takes the headers of a request, and without any of them its session.
func (s *sessions) authenticator() httpadapter.Authenticator {
	headers := httpadapter.HeaderAuth(s.tokens.Login)
	return httpadapter.AuthenticatorFunc(func(r *http.Request) (httpadapter.Caller, error) {
		if r.Header["X-User-Id"] != nil || r.Header["X-Auth-Token"] != nil {
			return headers.Authenticate(r)
		}
		_, token, err := s.find(sessionID(r))
		if err != nil {
			return httpadapter.Caller{}, err
		}
		noteUser(r.Context(), token.UserID)
		return httpadapter.Caller{UserID: token.UserID, MayManage: token.MayManage}, nil
	})
}
