// Package tokenauth knows users by tokens, for hosts that have no logins of their
// own.
//
//	var tokens tokenauth.Tokens
//	api := httpadapter.New(catalog, httpadapter.HeaderAuth(tokens.Login), nil)
package tokenauth

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/customstatus/customstatus/httpadapter"
)

// Token is a login: who has it, what it allows, and the hash of its secret. Its
// JSON form can be kept in a file.
type Token struct {
	UserID    string `json:"userId"`
	Hash      Hash   `json:"tokenHash"`
	MayManage bool   `json:"mayManage"`
}

// Hash is the SHA-256 hash of a secret. A hash made to be slow, as passwords need
// it, would add nothing: there is no guessing 256 random bits, and every request
// would pay for it. For the same reason only secrets that [NewSecret] made, or
// others that are as hard to guess, may be hashed so.
type Hash [sha256.Size]byte

const hashPrefix = "sha256:"

// HashOf returns the hash of a secret.
func HashOf(secret string) Hash { return sha256.Sum256([]byte(secret)) }

// String returns the text form.
func (h Hash) String() string { return hashPrefix + hex.EncodeToString(h[:]) }

// MarshalText returns the text form, "sha256:" and 64 hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads the text form.
func (h *Hash) UnmarshalText(text []byte) error {
	digits, ok := strings.CutPrefix(string(text), hashPrefix)
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != len(h) {
		return errors.New("tokenauth: not a hash: want " + hashPrefix + " and 64 hexadecimal digits")
	}
	copy(h[:], b)
	return nil
}

// NewSecret returns a new secret: 256 random bits, as 43 characters that need no
// quoting in a header, a URL or a shell.
func NewSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, see its documentation
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Tokens is a set of tokens in memory. A user may have several. It never keeps or
// logs a secret. The zero value is an empty set, by which nobody gets in. All
// methods may be called by several goroutines at once; a Tokens must not be
// copied.
type Tokens struct {
	mu    sync.RWMutex
	users map[string]*user
}

// user has the tokens of one user.
type user struct {
	tokens []Token
	at     map[Hash]int // where in tokens
}

// Login is for [httpadapter.HeaderAuth]. The error is
// [httpadapter.ErrUnauthenticated] if the user has no such token. The time it
// takes depends on how many tokens the user has, not on how much of one is right.
func (t *Tokens) Login(_ context.Context, userID, secret string) (httpadapter.Caller, error) {
	hash := HashOf(secret)
	t.mu.RLock()
	defer t.mu.RUnlock()
	u := t.users[userID]
	if u == nil {
		return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
	}
	found := -1
	for i := range u.tokens {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], u.tokens[i].Hash[:]), i, found)
	}
	if found < 0 {
		return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
	}
	return httpadapter.Caller{UserID: userID, MayManage: u.tokens[found].MayManage}, nil
}

// Add adds tokens, all or none. One that the user has already it replaces, with
// what it allows. The error is that of a token without a user or without a hash.
func (t *Tokens) Add(tokens ...Token) error {
	if err := check(tokens); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(tokens)
	return nil
}

// Replace makes tokens the whole set, or on error leaves the set as it is. A token
// that is not among them is valid no longer.
func (t *Tokens) Replace(tokens []Token) error {
	if err := check(tokens); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users = nil
	t.put(tokens)
	return nil
}

// Revoke removes a token and reports whether it was there. Event streams that it
// has opened end at [httpadapter.Handler.RecheckLogins].
func (t *Tokens) Revoke(userID string, hash Hash) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users[userID]
	if u == nil {
		return false
	}
	i, found := u.at[hash]
	if !found {
		return false
	}
	last := len(u.tokens) - 1
	u.tokens[i] = u.tokens[last]
	u.at[u.tokens[i].Hash] = i
	u.tokens = u.tokens[:last]
	delete(u.at, hash)
	if last == 0 {
		delete(t.users, userID)
	}
	return true
}

// RevokeUser removes all tokens of a user and returns how many there were.
func (t *Tokens) RevokeUser(userID string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users[userID]
	if u == nil {
		return 0
	}
	delete(t.users, userID)
	return len(u.tokens)
}

// All returns the set, ordered by user and hash.
func (t *Tokens) All() []Token {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []Token
	for _, u := range t.users {
		all = append(all, u.tokens...)
	}
	slices.SortFunc(all, func(a, b Token) int {
		return cmp.Or(cmp.Compare(a.UserID, b.UserID), slices.Compare(a.Hash[:], b.Hash[:]))
	})
	return all
}

func check(tokens []Token) error {
	for _, token := range tokens {
		if token.UserID == "" || token.Hash == (Hash{}) {
			return errors.New("tokenauth: a token needs a user id and a hash")
		}
	}
	return nil
}

func (t *Tokens) put(tokens []Token) {
	if t.users == nil {
		t.users = make(map[string]*user)
	}
	for _, token := range tokens {
		u := t.users[token.UserID]
		if u == nil {
			u = &user{at: make(map[Hash]int)}
			t.users[token.UserID] = u
		}
		if i, there := u.at[token.Hash]; there {
			u.tokens[i] = token
			continue
		}
		u.at[token.Hash] = len(u.tokens)
		u.tokens = append(u.tokens, token)
	}
}
