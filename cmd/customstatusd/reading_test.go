package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus"
)

// A server starts and commits while a command that only reads is in the middle of its
// work. The command goes on with what it began with.
func TestReadingHoldsUpNoServer(t *testing.T) {
	for _, command := range []string{"export", "backup"} {
		t.Run(command, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			cli(t, "import", "--db", path, line(t, "before"))
			want := cli(t, "export", "--db", path)
			r, w := io.Pipe() // nobody reads it yet, so the command can't end
			ended := make(chan int, 1)
			var errs bytes.Buffer
			go func() {
				code := run(t.Context(), []string{command, "--db", path}, nil, w, &errs, noEnv)
				w.Close()
				ended <- code
			}()
			first := make([]byte, 1)
			_, err := io.ReadFull(r, first)
			require.NoError(t, err)
			whileServing(t, path, func() {
				for _, name := range []string{"a", "b", "c"} {
					cli(t, "import", "--db", path, line(t, name))
				}
			})
			rest, err := io.ReadAll(r)
			require.NoError(t, err)
			require.Equal(t, exitOK, <-ended, errs.String())
			got := string(first) + string(rest)
			if command == "backup" {
				backup := filepath.Join(t.TempDir(), "backup.db")
				require.NoError(t, os.WriteFile(backup, []byte(got), 0o600))
				got = cli(t, "export", "--db", backup)
			}
			require.Equal(t, want, got)
			require.Equal(t, 4, strings.Count(cli(t, "export", "--db", path), "\n"))
		})
	}
}

// A copy has the whole of one commit, or there is none.
func TestCopyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	cli(t, "import", "--db", path, line(t, "a"))
	write := func(commit bool) {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 1}) // the lock is free during the copy
		require.NoError(t, err)
		defer db.Close()
		tx, err := db.Begin(true)
		require.NoError(t, err)
		_, err = tx.CreateBucketIfNotExists([]byte("another"))
		require.NoError(t, err)
		if commit {
			require.NoError(t, tx.Commit())
		} else {
			require.NoError(t, tx.Rollback())
		}
	}
	for name, during := range map[string]struct {
		do      func()
		refused bool
	}{
		"nothing":          {func() {}, false},
		"no commit":        {func() { write(false) }, false},
		"a commit":         {func() { write(true) }, true},
		"a lost meta page": {func() { require.NoError(t, os.Truncate(path, 0)) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			original, err := os.ReadFile(path)
			require.NoError(t, err)
			defer func() { require.NoError(t, os.WriteFile(path, original, 0o600)) }()
			copied, err := copyFile(path, func(to, from *os.File, size int64) error {
				err := copyAll(to, from, size)
				during.do()
				return err
			})
			if during.refused {
				require.ErrorIs(t, err, customstatus.ErrLocked)
				require.Equal(t, []string{"x.db"}, names(t, filepath.Dir(path)))
				return
			}
			require.NoError(t, err)
			var got bytes.Buffer
			require.NoError(t, copied.writeTo(&got))
			require.NoError(t, copied.discard())
			require.Equal(t, original, got.Bytes())
		})
	}
}
