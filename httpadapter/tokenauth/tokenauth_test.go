package tokenauth_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

func TestTokens(t *testing.T) {
	ctx := t.Context()
	var tokens tokenauth.Tokens
	in := func(userID, token string) string {
		caller, err := tokens.Login(ctx, userID, token)
		if err != nil {
			require.ErrorIs(t, err, httpadapter.ErrUnauthenticated)
			require.Zero(t, caller)
			return "out"
		}
		require.Equal(t, userID, caller.UserID)
		if caller.MayManage {
			return "manages"
		}
		return "in"
	}
	token := func(userID, text string, manage bool) tokenauth.Token {
		return tokenauth.Token{UserID: userID, Hash: tokenauth.HashOf(text), MayManage: manage}
	}

	finds := func(userID, text string, manage, there bool) {
		t.Helper()
		var want tokenauth.Token
		if there {
			want = token(userID, text, manage)
		}
		found, ok := tokens.Find(userID, tokenauth.HashOf(text))
		require.Equal(t, there, ok)
		require.Equal(t, want, found)
	}

	require.Equal(t, "out", in("", ""), "the zero value lets nobody in")
	finds("a", "1", false, false)
	require.Empty(t, tokens.All())
	require.False(t, tokens.Revoke("a", tokenauth.HashOf("1")))
	require.Zero(t, tokens.RevokeUser("a"))

	require.NoError(t, tokens.Add(token("a", "1", false), token("a", "2", true), token("b", "1", true)))
	require.Equal(t, []string{"in", "manages", "out", "manages", "out"},
		[]string{in("a", "1"), in("a", "2"), in("a", "3"), in("b", "1"), in("b", "2")})

	require.NoError(t, tokens.Add(token("a", "1", true)))
	require.Equal(t, "manages", in("a", "1"), "the permission is the new one")
	finds("a", "1", true, true)
	finds("a", "3", false, false)
	finds("c", "1", false, false)
	require.Len(t, tokens.All(), 3)

	require.True(t, tokens.Revoke("a", tokenauth.HashOf("1")))
	require.False(t, tokens.Revoke("a", tokenauth.HashOf("1")))
	finds("a", "1", false, false)
	finds("a", "2", true, true)
	require.Equal(t, []string{"out", "manages", "manages"}, []string{in("a", "1"), in("a", "2"), in("b", "1")})

	require.NoError(t, tokens.Add(token("a", "4", false)))
	require.Equal(t, 2, tokens.RevokeUser("a"))
	require.Equal(t, []string{"out", "out", "manages"}, []string{in("a", "2"), in("a", "4"), in("b", "1")})

	require.NoError(t, tokens.Replace([]tokenauth.Token{token("c", "1", false)}))
	require.Equal(t, []string{"out", "in"}, []string{in("b", "1"), in("c", "1")})

	for _, bad := range []tokenauth.Token{{}, {UserID: "d"}, {Hash: tokenauth.HashOf("1")}} {
		require.Error(t, tokens.Add(token("d", "1", true), bad))
		require.Error(t, tokens.Replace([]tokenauth.Token{bad}))
	}
	require.Equal(t, []tokenauth.Token{token("c", "1", false)}, tokens.All(), "all or none")
}

func TestTokensAsJSON(t *testing.T) {
	var tokens tokenauth.Tokens
	secret := tokenauth.NewSecret()
	require.NoError(t, tokens.Add(
		tokenauth.Token{UserID: "b", Hash: tokenauth.HashOf("abc"), MayManage: true},
		tokenauth.Token{UserID: "a", Hash: tokenauth.HashOf(secret)}))
	text, err := json.Marshal(tokens.All())
	require.NoError(t, err)
	require.NotContains(t, string(text), secret)
	require.True(t, strings.HasSuffix(string(text),
		// the SHA-256 of "abc", from FIPS 180-2
		`{"userId":"b","tokenHash":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","mayManage":true}]`), string(text))

	var read []tokenauth.Token
	require.NoError(t, json.Unmarshal(text, &read))
	require.Equal(t, tokens.All(), read)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", &tokens, read, read), secret)

	for _, bad := range []string{"", "sha256:", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"sha256:ba7816", "sha256:zz7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad00"} {
		var h tokenauth.Hash
		require.Error(t, h.UnmarshalText([]byte(bad)), bad)
		require.Zero(t, h)
	}
}

func TestNewSecret(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		token := tokenauth.NewSecret()
		require.Regexp(t, `^[A-Za-z0-9_-]{43}$`, token)
		require.False(t, seen[token])
		seen[token] = true
	}
}

func TestTokensConcurrently(t *testing.T) {
	var tokens tokenauth.Tokens
	stays := tokenauth.Token{UserID: "u", Hash: tokenauth.HashOf("stays")}
	require.NoError(t, tokens.Add(stays))
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for i := range 4 {
		comes := tokenauth.Token{UserID: "u", Hash: tokenauth.HashOf(fmt.Sprint(i))}
		writers.Go(func() {
			for range 500 {
				assert.NoError(t, tokens.Add(comes))
				assert.Contains(t, tokens.All(), comes)
				assert.True(t, tokens.Revoke("u", comes.Hash))
			}
		})
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				_, err := tokens.Login(t.Context(), "u", "stays")
				assert.NoError(t, err)
				_, err = tokens.Login(t.Context(), "u", "never")
				assert.ErrorIs(t, err, httpadapter.ErrUnauthenticated)
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	require.Equal(t, []tokenauth.Token{stays}, tokens.All())
}

// TestManyTokensOfOneUser adds and revokes so many tokens that a copy of all tokens for
// each change would take gigabytes.
func TestManyTokensOfOneUser(t *testing.T) {
	const n = 20_000
	all := make([]tokenauth.Token, n)
	for i := range all {
		all[i] = tokenauth.Token{UserID: "u", Hash: tokenauth.HashOf(fmt.Sprint(i)), MayManage: i%2 == 0}
	}
	manages := func(tokens *tokenauth.Tokens, secret int) bool {
		caller, err := tokens.Login(t.Context(), "u", fmt.Sprint(secret))
		require.NoError(t, err)
		return caller.MayManage
	}
	for name, fill := range map[string]func(*tokenauth.Tokens) error{
		"Add":     func(tokens *tokenauth.Tokens) error { return tokens.Add(all...) },
		"Replace": func(tokens *tokenauth.Tokens) error { return tokens.Replace(all) },
		"Add, one at a time": func(tokens *tokenauth.Tokens) error {
			for _, token := range all {
				if err := tokens.Add(token); err != nil {
					return err
				}
			}
			return nil
		},
		"Add, twice": func(tokens *tokenauth.Tokens) error {
			if err := tokens.Add(all...); err != nil {
				return err
			}
			return tokens.Add(all...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var tokens tokenauth.Tokens
			before := allocated()
			require.NoError(t, fill(&tokens))
			require.True(t, manages(&tokens, 0))
			require.False(t, manages(&tokens, n-1))
			require.Len(t, tokens.All(), n)
			revoked := 0
			for _, token := range all[1:] {
				if tokens.Revoke("u", token.Hash) {
					revoked++
				}
			}
			require.Equal(t, n-1, revoked)
			require.Less(t, allocated()-before, uint64(100<<20))
			require.Equal(t, all[:1], tokens.All())
			require.Equal(t, 1, tokens.RevokeUser("u"))
		})
	}
}

// allocated returns the number of bytes allocated so far.
func allocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}
