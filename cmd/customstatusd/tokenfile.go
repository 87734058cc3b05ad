package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

// The tokens are in a file of their own, so that a copy of the database contains no
// credentials. Every edit replaces the whole file and holds a lock, which is a second
// file beside the tokens file. A running server notices that the file has changed.

// tokensVersion is the version of the file's format.
const tokensVersion = 1

// tokenRecords is the content of the file.
type tokenRecords struct {
	Version int           `json:"version"`
	Tokens  []tokenRecord `json:"tokens"`
}

type tokenRecord struct {
	tokenauth.Token
	Label     string    `json:"label,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
}

// id returns the name of the token for people: the first digits of its hash.
func (r tokenRecord) id() string { return r.hashDigits()[:idDigits] }

const idDigits = 12

func (r tokenRecord) hashDigits() string { return hex.EncodeToString(r.Hash[:]) }

// readTokens reads the file at a place, and returns the file's information from before
// the read.
func readTokens(at place) (tokenRecords, os.FileInfo, error) {
	path := at.path
	var records tokenRecords
	text, info, err := readTrusted(path, at.database)
	if err != nil {
		return records, nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&records); err != nil {
		return records, nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return records, nil, fmt.Errorf("%s: data after the JSON value", path)
	}
	if records.Version != tokensVersion {
		return records, nil, fmt.Errorf("%s: version %d; this program knows version %d", path, records.Version, tokensVersion)
	}
	return records, info, nil
}

// editTokens changes the file at a place, or makes it. Edits wait for each other, also
// between processes.
func editTokens(at place, edit func(*tokenRecords) error) error {
	if err := at.dangling(); err != nil {
		return err
	}
	path := at.path
	lock, err := lockTokens(at)
	if err != nil {
		return err
	}
	defer lock.Close()
	records, _, err := readTokens(at)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	records.Version = tokensVersion
	if err := edit(&records); err != nil {
		return err
	}
	directory, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(records, "", "  ")
	if err == nil && len(text) >= maxRecords {
		err = fmt.Errorf("%s: there are too many tokens for %d bytes", path, maxRecords)
	}
	if err != nil {
		return err
	}
	return writeFileLike(path, true, directory, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

// lockTokens waits for the lock of a tokens file, which is a file of its own.
func lockTokens(at place) (*lockedfile.File, error) {
	path := at.path + lockEnding
	if info, err := os.Lstat(path); err == nil {
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is in the way: it is not a regular file", path)
		}
		if err := trusted(path, at.database, info); err != nil {
			return nil, err
		}
	}
	lock, err := lockedfile.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := lock.Stat()
	if err == nil {
		err = trusted(path, at.database, info)
	}
	if err == nil {
		err = shareLock(lock, info)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// shareLock gives a lock that root has made to the owner of its directory: the service
// must be able to open it.
func shareLock(lock *lockedfile.File, info os.FileInfo) error {
	if uid, _, ok := ownerOf(info); !ok || uid != 0 || !hasOneName(info) {
		return nil
	}
	directory, err := os.Stat(filepath.Dir(lock.Name()))
	if err != nil {
		return err
	}
	return giveOwner(lock.File, directory)
}

// newToken is new credentials. Nothing else holds the token.
type newToken struct{ userID, token string }

// headers returns the two headers that a client sends with the token, as lines.
func (t newToken) headers() string {
	return fmt.Sprintf("X-User-Id: %s\nX-Auth-Token: %s\n", t.userID, t.token)
}

// addToken adds a token to the records. An empty userID makes a new user.
func (r *tokenRecords) addToken(userID string, mayManage bool, label string) newToken {
	if userID == "" {
		userID = strings.ToLower(rand.Text()[:17]) // as long as Rocket.Chat's ids
	}
	made := newToken{userID, tokenauth.NewSecret()}
	for made.token[0] == '-' {
		// If somebody puts it on a command line, where it does not belong, the error
		// about an unknown flag would repeat it.
		made.token = tokenauth.NewSecret()
	}
	r.Tokens = append(r.Tokens, tokenRecord{
		Token:     tokenauth.Token{UserID: userID, Hash: tokenauth.HashOf(made.token), MayManage: mayManage},
		Label:     label,
		CreatedAt: time.Now().UTC().Truncate(time.Second),
	})
	return made
}

// errTokensExist is returned when this is not the first start.
var errTokensExist = errors.New("there is a tokens file")

// makeFirstToken makes a tokens file with one token, unless there is a file. It calls
// show with the token before the file exists: a kill in between must not leave a token
// that nobody has seen.
func makeFirstToken(ctx context.Context, at place, show func(newToken) error) error {
	if _, err := os.Stat(at.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	shown := false
	err := editTokens(at, func(r *tokenRecords) error {
		if _, err := os.Stat(at.path); !errors.Is(err, fs.ErrNotExist) {
			return errTokensExist // another process has made it meanwhile
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		made := r.addToken("", true, "first start")
		shown = true
		return show(made)
	})
	switch {
	case errors.Is(err, errTokensExist):
		return nil
	case err != nil && shown:
		return fmt.Errorf("the first token is not valid, because the tokens file was not made: %w", err)
	}
	return err
}

// tokenFile authenticates callers by the tokens in a file. When somebody logs in, and
// at most once a second, it looks whether the file has changed.
type tokenFile struct {
	at     place
	log    *slog.Logger
	now    func() time.Time
	tokens tokenauth.Tokens

	mu      sync.Mutex
	changed func()      // called when the tokens have been read, unless nil
	info    os.FileInfo // of the file that the tokens were read from
	loaded  time.Time   // when the tokens were read
	checked time.Time   // when the file was last looked at
	failed  error       // why the file could not be read when it was last tried
}

const (
	tokensCheckEvery = time.Second
	// tokensSettle is how old a file's time must be before an equal time means an
	// unchanged file. File systems count time in steps.
	tokensSettle = 2 * time.Second
)

// openTokens reads the file at a place.
func openTokens(at place, log *slog.Logger) (*tokenFile, error) {
	f := &tokenFile{at: at, log: log, now: time.Now}
	if err := f.reload(); err != nil {
		return nil, err
	}
	if len(f.tokens.All()) == 0 {
		log.Warn("there are no tokens, so nobody can log in; 'customstatusd token add' makes one", "tokens", at.path)
	}
	return f, nil
}

// onChange sets a function that is called whenever the tokens have been read again.
// The function must not wait for a login.
func (f *tokenFile) onChange(changed func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed = changed
}

// Login is for httpadapter.HeaderAuth.
func (f *tokenFile) Login(ctx context.Context, userID, authToken string) (httpadapter.Caller, error) {
	f.refresh()
	caller, err := f.tokens.Login(ctx, userID, authToken)
	if err == nil {
		noteUser(ctx, caller.UserID)
	}
	return caller, err
}

// refresh reads the file again if it has changed. If that fails, the tokens stay as
// they are: somebody who edits the file by hand must not lock everybody out.
func (f *tokenFile) refresh() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if now.Sub(f.checked) < tokensCheckEvery {
		return
	}
	f.checked = now
	err := f.find()
	var info os.FileInfo
	if err == nil {
		info, err = os.Lstat(f.at.path)
	}
	if err == nil {
		if f.failed == nil && unchanged(info, f.info) && f.loaded.Sub(f.info.ModTime()) > tokensSettle {
			return
		}
		err = f.load()
	}
	f.note(err)
}

// note keeps the result of a read, and logs a change.
func (f *tokenFile) note(err error) {
	switch {
	case err != nil && (f.failed == nil || err.Error() != f.failed.Error()):
		f.log.Error("the tokens file can't be read; the tokens that were read last stay valid", "error", err)
	case err == nil && f.failed != nil:
		f.log.Info("the tokens file can be read again", "tokens", f.at.path)
	}
	f.failed = err
}

// problem returns why the file can't be read, or nil.
func (f *tokenFile) problem() error {
	f.refresh()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// reload reads the file again, even if it has not changed.
func (f *tokenFile) reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.load()
	if f.info != nil { // else the server does not start
		f.note(err)
	}
	return err
}

// find follows the links to the file again. Whoever provides the file may replace it by
// a link to another one, as Kubernetes does with the files of a secret.
func (f *tokenFile) find() error {
	at, err := findPlace(f.at.given)
	if err != nil {
		return err
	}
	at.database = f.at.database
	f.at = at
	return nil
}

func (f *tokenFile) load() error {
	now := f.now()
	if err := f.find(); err != nil {
		return err
	}
	records, info, err := readTokens(f.at)
	if err != nil {
		return err
	}
	tokens := make([]tokenauth.Token, len(records.Tokens))
	for i, r := range records.Tokens {
		tokens[i] = r.Token
	}
	if err := f.tokens.Replace(tokens); err != nil {
		return fmt.Errorf("%s: %w", f.at.path, err)
	}
	if othersMayWrite(info) && (f.info == nil || !othersMayWrite(f.info)) {
		f.log.Warn("users other than its owner may write the tokens file, and so make tokens", "tokens", f.at.path, "mode", info.Mode().String())
	}
	f.info, f.loaded, f.checked = info, now, now
	if f.changed != nil {
		f.changed()
	}
	return nil
}
