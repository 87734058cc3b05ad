package main

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// accountsFile is the name of the accounts file in the data directory.
	accountsFile = "accounts.json"
	// passwordRounds is the number of rounds of PBKDF2 with SHA-256 that OWASP
	// recommends. It slows down guessing from a stolen file.
	passwordRounds = 600_000
	// minPassword is the least number of bytes in a password.
	minPassword = 8
	// sessionLife is how long a login lasts.
	sessionLife = 24 * time.Hour
)

var (
	errWrongPassword = errors.New("unknown user or wrong password")
	errNameTaken     = errors.New("the user name is taken")
	errBadAccount    = fmt.Errorf("a user name needs 1 to 40 letters, digits, '.', '_' or '-', and a password at least %d characters", minPassword)
)

// account is a person's entry in the accounts file. It holds a salted hash of the
// password, not the password.
type account struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Admin    bool      `json:"admin"`
	Created  time.Time `json:"created"`
	Password password  `json:"password"`
}

type password struct {
	Salt   []byte `json:"salt"`
	Rounds int    `json:"rounds"`
	Hash   []byte `json:"hash"`
}

func newPassword(text string, rounds int) (password, error) {
	p := password{Salt: make([]byte, 16), Rounds: rounds}
	rand.Read(p.Salt) // never fails
	var err error
	p.Hash, err = pbkdf2.Key(sha256.New, text, p.Salt, p.Rounds, sha256.Size)
	return p, err
}

func (p password) matches(text string) bool {
	hash, err := pbkdf2.Key(sha256.New, text, p.Salt, p.Rounds, sha256.Size)
	return err == nil && subtle.ConstantTimeCompare(hash, p.Hash) == 1
}

// session is one login. It ends when it is closed, sessionLife after it began, or with
// the server.
type session struct {
	account account
	ctx     context.Context
	close   context.CancelFunc
}

// during returns a context that ends with ctx or with the session.
func (s *session) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// accounts are all people with a login, and their sessions.
type accounts struct {
	file   string
	rounds int
	decoy  password        // checked in place of an unknown user's password
	life   context.Context // all sessions end with it
	hashes chan struct{}   // a place for each password that may be hashed at a time

	mu       sync.Mutex
	byName   map[string]account
	sessions map[[sha256.Size]byte]*session // by the hash of the token
}

// openAccounts reads the accounts in the directory. Sessions end with ctx.
func openAccounts(ctx context.Context, directory string, rounds int) (*accounts, error) {
	decoy, err := newPassword(rand.Text(), rounds)
	if err != nil {
		return nil, err
	}
	a := &accounts{
		file:     filepath.Join(directory, accountsFile),
		rounds:   rounds,
		decoy:    decoy,
		life:     ctx,
		hashes:   make(chan struct{}, runtime.GOMAXPROCS(0)),
		byName:   make(map[string]account),
		sessions: make(map[[sha256.Size]byte]*session),
	}
	data, err := os.ReadFile(a.file)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	var list []account
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", a.file, err)
	}
	for _, acc := range list {
		a.byName[acc.Name] = acc
	}
	return a, nil
}

// all returns the accounts in the order of their names.
func (a *accounts) all() []account {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sorted()
}

func (a *accounts) sorted() []account {
	list := make([]account, 0, len(a.byName))
	for _, acc := range a.byName {
		list = append(list, acc)
	}
	slices.SortFunc(list, func(x, y account) int { return strings.Compare(x.Name, y.Name) })
	return list
}

// add makes an account and saves it before returning.
func (a *accounts) add(ctx context.Context, name, text string, admin bool) (account, error) {
	if !validUserName(name) || len(text) < minPassword {
		return account{}, errBadAccount
	}
	if err := a.waitToHash(ctx); err != nil {
		return account{}, err
	}
	pw, err := newPassword(text, a.rounds)
	<-a.hashes
	if err != nil {
		return account{}, err
	}
	acc := account{ID: rand.Text(), Name: name, Admin: admin, Created: time.Now().UTC(), Password: pw}

	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.byName[name]; ok {
		return account{}, errNameTaken
	}
	a.byName[name] = acc
	if err := a.save(); err != nil {
		delete(a.byName, name)
		return account{}, err
	}
	return acc, nil
}

func validUserName(name string) bool {
	return name != "" && len(name) <= 40 && !strings.ContainsFunc(name, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("._-", c))
	})
}

// save replaces the file in one step. A crash leaves the old file or the new one.
func (a *accounts) save() error {
	data, err := json.MarshalIndent(a.sorted(), "", "\t")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(a.file), accountsFile+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), a.file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// waitToHash takes a place in a.hashes. Hashing is slow by design, and many logins at
// once must not take the whole machine.
func (a *accounts) waitToHash(ctx context.Context) error {
	select {
	case a.hashes <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// login begins a session and returns the session and its token. Only the client keeps
// the token. (A server on the open Internet would also limit how many passwords an
// address may try.)
func (a *accounts) login(ctx context.Context, name, text string) (*session, string, error) {
	a.mu.Lock()
	acc, known := a.byName[name]
	a.mu.Unlock()
	pw := a.decoy
	if known {
		pw = acc.Password
	}
	if err := a.waitToHash(ctx); err != nil {
		return nil, "", err
	}
	// An unknown user takes as long as a wrong password, so that the time does
	// not tell who has an account.
	ok := pw.matches(text)
	<-a.hashes
	if !known || !ok {
		return nil, "", errWrongPassword
	}

	token := rand.Text()
	key := sha256.Sum256([]byte(token))
	s := &session{account: acc}
	s.ctx, s.close = context.WithTimeout(a.life, sessionLife)
	a.mu.Lock()
	a.sessions[key] = s
	a.mu.Unlock()
	context.AfterFunc(s.ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.sessions, key)
	})
	return s, token, nil
}

// session returns the session of a request: of the headers X-User-Id and X-Auth-Token, as
// Rocket.Chat's clients send them, or of the page's cookie. A request with one of the
// headers counts by the headers alone.
func (a *accounts) session(r *http.Request) (*session, bool) {
	userID, token := r.Header.Get("X-User-Id"), r.Header.Get("X-Auth-Token")
	if userID == "" && token == "" {
		return a.cookieSession(r)
	}
	s, ok := a.byToken(token)
	if !ok || s.account.ID != userID {
		return nil, false
	}
	return s, true
}

// byToken looks a session up by the hash of its token, so that the time of a look-up says
// nothing about the token.
func (a *accounts) byToken(token string) (*session, bool) {
	key := sha256.Sum256([]byte(token))
	a.mu.Lock()
	s := a.sessions[key]
	a.mu.Unlock()
	if s == nil || s.ctx.Err() != nil {
		return nil, false
	}
	return s, true
}
