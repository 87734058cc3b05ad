package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A tokens file that somebody else provides, as Kubernetes mounts a secret: a link to a
// link to a file that can't be written, in a directory that is open to all users. An
// update replaces the link in the middle.
func TestProvidedTokens(t *testing.T) {
	mount := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.Mkdir(mount, 0o700))
	require.NoError(t, os.Chmod(mount, 0o777|os.ModeSticky))
	provide := func(version string, tokens func(path string) newToken) newToken {
		directory := filepath.Join(mount, "..", version)
		require.NoError(t, os.Mkdir(directory, 0o755))
		made := tokens(filepath.Join(directory, "tokens"))
		require.NoError(t, os.Remove(filepath.Join(directory, "tokens.lock")))
		require.NoError(t, os.Chmod(filepath.Join(directory, "tokens"), 0o440))
		require.NoError(t, os.Rename(directory, filepath.Join(mount, ".."+version)))
		require.NoError(t, os.Symlink(".."+version, filepath.Join(mount, "..data_tmp")))
		require.NoError(t, os.Rename(filepath.Join(mount, "..data_tmp"), filepath.Join(mount, "..data")))
		return made
	}
	old := provide("first", func(path string) newToken { return add(t, path, "alice") })
	path := filepath.Join(mount, "tokens")
	require.NoError(t, os.Symlink("..data/tokens", path))
	place, err := tokensPlace(path, fileAt(filepath.Join(t.TempDir(), "x.db")))
	require.NoError(t, err)
	f, err := openTokens(place, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	now := time.Now()
	f.now = func() time.Time { return now }
	login := func(made newToken) error {
		_, err := f.Login(t.Context(), made.userID, made.token)
		return err
	}
	require.NoError(t, login(old))

	changed := provide("second", func(path string) newToken { return add(t, path, "bob") })
	require.NoError(t, os.RemoveAll(filepath.Join(mount, "..first")))
	now = now.Add(tokensCheckEvery)
	require.NoError(t, login(changed))
	require.Error(t, login(old))
	require.NoError(t, f.problem())

	// On request, too.
	third := provide("third", func(path string) newToken { return add(t, path, "carol") })
	require.NoError(t, f.reload())
	require.NoError(t, login(third))
}

// The documented form: a hash that sha256sum prints, and nothing that can be left out.
func TestTokensInTheDocumentedForm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tokens")
	require.NoError(t, os.WriteFile(path, []byte(`{
  "version": 1,
  "tokens": [
    {
      "userId": "bot",
      "tokenHash": "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
      "mayManage": true
    }
  ]
}`), 0o440))
	place, err := tokensPlace(path, fileAt(filepath.Join(t.TempDir(), "x.db")))
	require.NoError(t, err)
	f, err := openTokens(place, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	caller, err := f.Login(t.Context(), "bot", "secret")
	require.NoError(t, err)
	require.True(t, caller.MayManage)
	require.Contains(t, cli(t, "token", "list", "--db", place.database, "--tokens", path), " bot ")
}
