package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

func noEnv(string) (string, bool) { return "", false }

// cli runs the program, requires exit code 0, and returns the output.
func cli(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	require.Equal(t, exitOK, run(t.Context(), args, strings.NewReader(""), &out, &errs, noEnv), "%q: %s", args, errs.String())
	return out.String()
}

// command runs the program, requires an exit code, and returns what it printed.
func command(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	require.Equal(t, want, run(t.Context(), args, strings.NewReader(""), &out, &errs, noEnv), "%v\n%s%s", args, out.String(), errs.String())
	return out.String(), errs.String()
}

// whileServing calls do while a server holds the database at path.
func whileServing(t *testing.T, path string, do func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--addr", "127.0.0.1:0", "--db", path}, nil, io.Discard, w, noEnv)
		w.Close()
	}()
	listening := make(chan struct{})
	log := make(chan string, 1) // gets all of it
	go func() {
		var all strings.Builder
		for lines := bufio.NewScanner(r); lines.Scan(); {
			all.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), "msg=listening") {
				close(listening)
			}
		}
		log <- all.String()
	}()
	select {
	case <-listening:
		do()
	case text := <-log:
		require.Fail(t, "the server did not listen", text)
	}
	cancel()
	require.Equal(t, exitOK, <-ended, <-log)
}

// Every file that the program makes can be checked, served and written again, any
// number of times.
func TestFilesOfEveryWay(t *testing.T) {
	ways := map[string]func(t *testing.T, from, to string){
		"imported": func(t *testing.T, from, to string) { require.NoError(t, os.Rename(from, to)) },
		"backup":   func(t *testing.T, from, to string) { cli(t, "backup", "--db", from, to) },
		"live backup": func(t *testing.T, from, to string) {
			whileServing(t, from, func() { cli(t, "backup", "--db", from, to) })
		},
		"salvaged": func(t *testing.T, from, to string) { cli(t, "salvage", "--db", from, to) },
		"exported and imported": func(t *testing.T, from, to string) {
			lines := to + ".jsonl"
			cli(t, "export", "--db", from, lines)
			cli(t, "import", "--db", to, lines)
		},
		"backup of a backup": func(t *testing.T, from, to string) {
			cli(t, "backup", "--db", from, to+".first")
			cli(t, "import", "--db", to+".first", line(t, "between"))
			cli(t, "backup", "--db", to+".first", to)
		},
		"new": func(t *testing.T, _, to string) { whileServing(t, to, func() {}) },
	}
	for name, make := range ways {
		for commits := range 3 { // both parities, and a file without a commit
			t.Run(fmt.Sprintf("%s after %d", name, commits), func(t *testing.T) {
				directory := t.TempDir()
				from, to := filepath.Join(directory, "from.db"), filepath.Join(directory, "to.db")
				whileServing(t, from, func() {})
				for i := range commits {
					cli(t, "import", "--db", from, line(t, fmt.Sprint("before ", i)))
				}
				make(t, from, to)
				for further := range 5 {
					held := cli(t, "export", "--db", to)
					require.Contains(t, cli(t, "check", "--db", to), fmt.Sprintf(": ok, statuses %d, ", strings.Count(held, "\n")))
					whileServing(t, to, func() {
						// Not by the command, which waits half a second for the file.
						server, err := dialControl(t.Context(), controlPath(to))
						require.NoError(t, err)
						var served bytes.Buffer
						require.NoError(t, server.export(t.Context(), &served, formatLines))
						require.Equal(t, held, served.String())
					})
					cli(t, "import", "--db", to, line(t, fmt.Sprint("further ", further)))
					require.Equal(t, strings.Count(held, "\n")+1, strings.Count(cli(t, "export", "--db", to), "\n"))
				}
				// And once more, the way that failed.
				again := filepath.Join(directory, "again.db")
				cli(t, "backup", "--db", to, again)
				cli(t, "import", "--db", again, line(t, "again"))
				cli(t, "check", "--db", again)
			})
		}
	}
}

// line returns a file with one line to import.
func line(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "line.jsonl")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, `{"name":%q,"statusType":"busy","metadata":"of %[1]s"}`+"\n", name), 0o600))
	return path
}

// A file that is not a catalog is named as what it is: it is not damaged, and nothing
// in it can be salvaged.
func TestFilesThatAreNoCatalog(t *testing.T) {
	files := map[string]struct {
		make func(t *testing.T, path string) error
		want string
	}{
		"JSON": {
			make: func(_ *testing.T, path string) error { return os.WriteFile(path, []byte(`{"a":1}`), 0o600) },
			want: "it is not a bbolt file, or the beginning of the file is lost",
		},
		"an empty file": {
			make: func(_ *testing.T, path string) error { return os.WriteFile(path, nil, 0o600) },
			want: "it is not a bbolt file: it is empty",
		},
		"a directory": {
			make: func(_ *testing.T, path string) error { return os.Mkdir(path, 0o700) },
			want: "not a regular file: d",
		},
		"another program's": {
			make: func(t *testing.T, path string) error {
				db, err := bbolt.Open(path, 0o600, nil)
				require.NoError(t, err)
				require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
					_, err := tx.CreateBucket([]byte("theirs"))
					return err
				}))
				return db.Close()
			},
			want: "it is a bbolt file without a catalog of customstatus",
		},
	}
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			path := filepath.Join(directory, "x.db")
			require.NoError(t, file.make(t, path))
			before, _ := os.ReadFile(path) // a directory can't be read
			for _, args := range [][]string{
				{"check"}, {"export"}, {"backup", "-"}, {"serve", "--addr", "127.0.0.1:0"}, {"import", line(t, "a")},
			} {
				var out, errs bytes.Buffer
				require.Equal(t, exitFailure, run(t.Context(), append(args, "--db", path), nil, &out, &errs, noEnv), "%q", args)
				require.Contains(t, errs.String(), file.want, "%q", args)
				require.NotContains(t, errs.String(), "salvage")
				require.NotContains(t, errs.String(), "damaged")
				require.Empty(t, out.String())
			}
			var out, errs bytes.Buffer
			require.Equal(t, exitFailure, run(t.Context(), []string{"salvage", "--db", path, filepath.Join(directory, "new.db")}, nil, &out, &errs, noEnv))
			require.NotContains(t, errs.String(), "damaged")
			after, _ := os.ReadFile(path)
			require.Equal(t, before, after)
			require.Equal(t, []string{"x.db"}, names(t, directory))
		})
	}
}

// An import that does not fit into one commit makes several, says so before and
// after, and can be repeated, with and without a server.
func TestImportLarge(t *testing.T) {
	const n = 101_000
	directory := t.TempDir()
	source := filepath.Join(directory, "large.jsonl")
	f, err := os.Create(source)
	require.NoError(t, err)
	w := bufio.NewWriter(f)
	for i := range n {
		fmt.Fprintf(w, `{"_id":"id %d","name":"name %d","statusType":"busy"}`+"\n", i, i)
	}
	require.NoError(t, w.Flush())
	require.NoError(t, f.Close())
	const warning = "large.jsonl: too large for one commit, so up to 3 commits follow; if the import ends early, run it again to import the rest\n"
	for name, served := range map[string]bool{"local": false, "served": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			twice := func() {
				var out, errs bytes.Buffer
				require.Equal(t, exitOK, run(t.Context(), []string{"import", "--db", path, source}, nil, &out, &errs, noEnv), errs.String())
				require.Equal(t, "imported 101000 in 3 commits, already there 0\n", out.String())
				require.Contains(t, errs.String(), warning)
				require.Equal(t, "imported 0, already there 101000\n", cli(t, "import", "--db", path, source))
			}
			if served {
				whileServing(t, path, twice)
			} else {
				twice()
			}
			require.Contains(t, cli(t, "check", "--db", path), ": ok, statuses 101000, revision 3\n")
			if !served {
				// What is salvaged has no fewer parts.
				saved := filepath.Join(t.TempDir(), "saved.db")
				require.Contains(t, cli(t, "salvage", "--db", path, saved), "saved all 101000\n")
			}
		})
	}
}
