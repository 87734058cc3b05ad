// Package tokenauth authenticates users by tokens, for hosts without logins of their
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

// A Token lets its user in. It holds the hash of a secret, never the secret. Its JSON
// form can be kept in a file.
type Token struct {
	UserID    string `json:"userId"`
	Hash      Hash   `json:"tokenHash"`
	MayManage bool   `json:"mayManage"`
}

// Hash is the SHA-256 hash of a secret. It is safe for secrets of [NewSecret] and for
// others that are as hard to guess, but not for passwords. Passwords need a slow
// hash, which random secrets don't need and every request would pay for.
type Hash [sha256.Size]byte

const hashPrefix = "sha256:"

// HashOf returns the hash of a secret.
func HashOf(secret string) Hash { return sha256.Sum256([]byte(secret)) }

// String returns "sha256:" and 64 hexadecimal digits.
func (h Hash) String() string { return hashPrefix + hex.EncodeToString(h[:]) }

// MarshalText returns the text of [Hash.String]. The error is always nil.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads the text of [Hash.String]. On error the hash is unchanged.
func (h *Hash) UnmarshalText(text []byte) error {
	digits, ok := strings.CutPrefix(string(text), hashPrefix)
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != len(h) {
		return errors.New("tokenauth: not a hash: want " + hashPrefix + " and 64 hexadecimal digits")
	}
	copy(h[:], b)
	return nil
}

// NewSecret returns 256 random bits as 43 characters. They need no quoting in a
// header, a URL or a shell.
func NewSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never returns an error
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Tokens is a set of tokens in memory. A user may have several tokens. The zero value
// is an empty set and lets nobody in. Tokens is safe for concurrent use and must not
// be copied. It never keeps or logs a secret.
type Tokens struct {
	mu    sync.RWMutex
	users map[string]*user
}

// user holds the tokens of one user.
type user struct {
	tokens []Token
	at     map[Hash]int // the index in tokens
}

// Login returns the caller of a user id and a secret. Pass Login to
// [httpadapter.HeaderAuth]. [httpadapter.ErrUnauthenticated] is returned when the user
// has no token with this secret. The time of a Login depends on the number of the
// user's tokens, and not on how much of a secret is right.
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

// Find returns the user's token with this hash, and whether there is one. It is for
// logins that began with a token, such as a browser's session, and end with it.
func (t *Tokens) Find(userID string, hash Hash) (Token, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	u := t.users[userID]
	if u == nil {
		return Token{}, false
	}
	i, found := u.at[hash]
	if !found {
		return Token{}, false
	}
	return u.tokens[i], true
}

// Add adds tokens, all or none. A token with the user and hash of an earlier token
// replaces that token. Add returns an error if a token has no user or no hash.
func (t *Tokens) Add(tokens ...Token) error {
	if err := check(tokens); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(tokens)
	return nil
}

// Replace makes tokens the whole set. Any other token is no longer valid. Replace
// returns an error, and changes nothing, if a token has no user or no hash.
//
// Event streams of tokens that are gone end at the next check of their logins.
// [httpadapter.Handler.RecheckLogins] checks at once.
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

// Revoke removes the user's token with this hash and reports whether there was one.
// Event streams of the token end at the next check of their logins.
// [httpadapter.Handler.RecheckLogins] checks at once.
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

// RevokeUser removes all tokens of a user and returns their number. Event streams of the
// user end at the next check of their logins. [httpadapter.Handler.RecheckLogins] checks
// at once.
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

// All returns all tokens, ordered by user and hash. The caller may modify the slice.
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
