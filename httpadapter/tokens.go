package httpadapter

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
)

// Token is a login of [Tokens]: who has it and what it allows, but of the secret
// only its hash. The JSON form is for keeping it in a file.
type Token struct {
	UserID    string    `json:"userId"`
	Hash      TokenHash `json:"tokenHash"`
	MayManage bool      `json:"mayManage"`
}

// TokenHash is the SHA-256 hash of an auth token. A hash made to be slow, as
// passwords need it, would add nothing: there is no guessing 256 random bits,
// and every request would pay for it. For the same reason only tokens that
// [GenerateToken] made, or others that are as hard to guess, may be hashed so.
type TokenHash [sha256.Size]byte

const hashPrefix = "sha256:"

// HashToken returns the hash of an auth token.
func HashToken(authToken string) TokenHash { return sha256.Sum256([]byte(authToken)) }

// String returns the text form.
func (h TokenHash) String() string { return hashPrefix + hex.EncodeToString(h[:]) }

// MarshalText returns the text form, "sha256:" and 64 hexadecimal digits.
func (h TokenHash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads the text form.
func (h *TokenHash) UnmarshalText(text []byte) error {
	digits, ok := strings.CutPrefix(string(text), hashPrefix)
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != len(h) {
		return errors.New("httpadapter: not a token hash: want " + hashPrefix + " and 64 hexadecimal digits")
	}
	copy(h[:], b)
	return nil
}

// GenerateToken returns a new auth token: 256 random bits, as 43 characters that
// need no quoting in a header, a URL or a shell.
func GenerateToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, see its documentation
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Tokens is an [Authenticator] over a set of [Token]s in memory. A user may have
// several. It never has, keeps or logs an auth token itself. The zero value is
// an empty set, by which nobody gets in; it may be changed while it is in use and
// must not be copied.
type Tokens struct {
	mu    sync.RWMutex
	users map[string][]Token // the slices are replaced, never changed
}

// Authenticate implements [Authenticator]. The time it takes depends on how many
// tokens the user has, not on how much of one is right.
func (t *Tokens) Authenticate(_ context.Context, userID, authToken string) (Caller, error) {
	t.mu.RLock()
	tokens := t.users[userID]
	t.mu.RUnlock()
	hash := HashToken(authToken)
	found := -1
	for i := range tokens {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], tokens[i].Hash[:]), i, found)
	}
	if found < 0 {
		return Caller{}, ErrUnauthenticated
	}
	return Caller{UserID: userID, MayManage: tokens[found].MayManage}, nil
}

// Add adds tokens, all or none. One that the user has already it replaces, with
// what it allows. The error is that of a token without a user or without a hash.
func (t *Tokens) Add(tokens ...Token) error {
	if err := checkTokens(tokens); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users == nil {
		t.users = make(map[string][]Token)
	}
	for _, token := range tokens {
		t.put(token)
	}
	return nil
}

// Replace makes tokens the whole set, or on error leaves it as it is. Those that
// aren't in it any more are valid no longer.
func (t *Tokens) Replace(tokens []Token) error {
	if err := checkTokens(tokens); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users = make(map[string][]Token)
	for _, token := range tokens {
		t.put(token)
	}
	return nil
}

// Revoke removes a token and reports whether it was there.
func (t *Tokens) Revoke(userID string, hash TokenHash) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.remove(userID, hash)
}

// RevokeUser removes all tokens of a user and returns how many there were.
func (t *Tokens) RevokeUser(userID string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.users[userID])
	delete(t.users, userID)
	return n
}

// All returns the set, ordered by user and hash.
func (t *Tokens) All() []Token {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []Token
	for _, tokens := range t.users {
		all = append(all, tokens...)
	}
	slices.SortFunc(all, func(a, b Token) int {
		return cmp.Or(cmp.Compare(a.UserID, b.UserID), slices.Compare(a.Hash[:], b.Hash[:]))
	})
	return all
}

func checkTokens(tokens []Token) error {
	for _, token := range tokens {
		if token.UserID == "" || token.Hash == (TokenHash{}) {
			return errors.New("httpadapter: a token needs a user id and a hash")
		}
	}
	return nil
}

func (t *Tokens) put(token Token) {
	t.remove(token.UserID, token.Hash)
	t.users[token.UserID] = append(t.users[token.UserID], token) // beyond what a reader sees
}

func (t *Tokens) remove(userID string, hash TokenHash) bool {
	old := t.users[userID]
	rest := slices.DeleteFunc(slices.Clone(old), func(token Token) bool { return token.Hash == hash })
	if len(rest) == 0 {
		delete(t.users, userID)
	} else {
		t.users[userID] = rest
	}
	return len(rest) < len(old)
}
