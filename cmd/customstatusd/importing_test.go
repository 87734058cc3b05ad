package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/cmd/customstatusd/internal/statusfile"
)

// smallStore takes few changes in one commit.
type smallStore struct {
	customstatus.Store
	before func(commit int) error // each commit that is small enough
	made   int
}

const smallLimit = 40

func (s *smallStore) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	if len(changes) > smallLimit {
		return 0, &customstatus.TooLargeError{MaxChanges: smallLimit}
	}
	if s.before != nil {
		if err := s.before(s.made + 1); err != nil {
			return 0, err
		}
	}
	s.made++
	return s.Store.Commit(ctx, changes)
}

// openSmall returns the catalog of a smallStore as a database that this process has
// opened, or that a server holds. settled ends the server after its running requests.
func openSmall(t *testing.T, kind string) (db database, local *localDatabase, store *smallStore, settled func()) {
	t.Helper()
	store = &smallStore{Store: customstatus.NewMemoryStore()}
	local = &localDatabase{}
	var err error
	local.catalog, err = customstatus.Open(t.Context(), store, &customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, local.catalog.Close()) })
	if kind == "local" {
		return local, local, store, func() {}
	}
	served, server := controlServer(t, local, nil)
	return served, local, store, func() { require.NoError(t, server.Shutdown(t.Context())) }
}

// sourceLines returns lines of n statuses; every third has neither id nor time.
func sourceLines(n int) string {
	var b strings.Builder
	for i := range n {
		if i%3 == 0 {
			fmt.Fprintf(&b, `{"name":"name %d","statusType":"busy","metadata":"m"}`+"\n", i)
		} else {
			fmt.Fprintf(&b, `{"_id":"id %d","name":"name %d","statusType":"away","_updatedAt":"2021-09-26T14:03:43.057Z"}`+"\n", i, i)
		}
	}
	return b.String()
}

func TestImportInParts(t *testing.T) {
	for _, name := range []string{"local", "served"} {
		t.Run(name, func(t *testing.T) {
			db, local, store, _ := openSmall(t, name)
			var said []importParts
			result, err := db.importFrom(t.Context(), strings.NewReader(sourceLines(100)), importOptions{}, func(p importParts) { said = append(said, p) })
			require.NoError(t, err)
			require.Equal(t, importResult{Read: 100, Added: 100, Commits: 3}, result)
			require.Equal(t, []importParts{{Most: 3}, {3, 1, 40, 0}, {3, 2, 80, 0}, {3, 3, 100, 0}}, said, "before the first part and after each")
			require.Equal(t, 3, store.made)

			result, err = db.importFrom(t.Context(), strings.NewReader(sourceLines(100)), importOptions{}, func(importParts) { t.Error("there is nothing to do") })
			require.NoError(t, err)
			require.Equal(t, importResult{Read: 100}, result)
			require.Equal(t, 100, local.catalog.Len())
		})
	}
}

// If the new statuses of a large source fit into one commit, one commit is made.
func TestImportOfTheRestIsOneCommit(t *testing.T) {
	db, _, store, _ := openSmall(t, "local")
	_, err := db.importFrom(t.Context(), strings.NewReader(sourceLines(70)), importOptions{}, noParts)
	require.NoError(t, err)
	result, err := db.importFrom(t.Context(), strings.NewReader(sourceLines(110)), importOptions{}, func(importParts) { t.Error("it fits") })
	require.NoError(t, err)
	require.Equal(t, importResult{Read: 110, Added: 40, Commits: 1}, result)
	require.Equal(t, 3, store.made)
}

// A repeated import says once that it is large, however many parts are there already.
func TestImportSaysOnceThatItIsLarge(t *testing.T) {
	for name, said := range map[string]func(*process) func(importParts){
		"import": func(p *process) func(importParts) { return p.sayLarge("x", nil) },
		"copy":   func(p *process) func(importParts) { return p.sayParts("the copy") },
	} {
		t.Run(name, func(t *testing.T) {
			db, _, _, _ := openSmall(t, "served")
			_, err := db.importFrom(t.Context(), strings.NewReader(sourceLines(170)), importOptions{}, noParts)
			require.NoError(t, err)
			var errs bytes.Buffer
			result, err := db.importFrom(t.Context(), strings.NewReader(sourceLines(300)), importOptions{}, said(&process{stderr: &errs}))
			require.NoError(t, err)
			require.Equal(t, 130, result.Added)
			require.Equal(t, 1, strings.Count(errs.String(), "too large for one commit"), errs.String())
		})
	}
}

// All bad lines are named before the first commit, wherever they are.
func TestImportInPartsChecksFirst(t *testing.T) {
	for name, tt := range map[string]struct{ more, want string }{
		"a bad line":   {`{"name":"<","statusType":"busy"}`, `line 101 (value 101): name "<" is not valid`},
		"a taken name": {`{"_id":"x","name":"taken","statusType":"busy"}`, `line 101 (value 101): the name "taken" belongs to status`},
		"a name twice": {`{"_id":"x","name":"name 99","statusType":"busy"}`, `line 101 (value 101): the name "name 99" belongs to status`},
	} {
		for _, kind := range []string{"local", "served"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				db, local, store, _ := openSmall(t, kind)
				_, err := local.catalog.Create(t.Context(), customstatus.Fields{Name: "taken", StatusType: "away"})
				require.NoError(t, err)
				result, err := db.importFrom(t.Context(), strings.NewReader(sourceLines(100)+tt.more), importOptions{}, noParts)
				require.NoError(t, err)
				require.Zero(t, result.Commits)
				require.Len(t, result.Bad.Values, 1)
				require.Contains(t, result.Bad.Values[0].Where+": "+result.Bad.Values[0].Reason, tt.want)
				require.Equal(t, 1, store.made)
			})
		}
	}
}

// An import that ends early says truly how far it came, and running it again finishes
// it.
func TestImportInPartsEndsEarly(t *testing.T) {
	tests := map[string]struct {
		at2   func(context.CancelFunc) error // before the second part
		added int
		want  string // what is said
	}{
		"a disk that is full": {
			at2:   func(context.CancelFunc) error { return errors.New("no space") },
			added: 40, want: "imported 40 in 1 commit, but not the rest; run the import again to import the rest: ",
		},
		"an outcome unknown": {
			at2:   func(context.CancelFunc) error { return customstatus.ErrOutcomeUnknown },
			added: 40, want: "imported 40 in 1 commit, and it is unknown whether more; run the import again to import the rest: ",
		},
		// The part that is being committed is made; its sender is told no more.
		"an interruption": {
			at2: func(cancel context.CancelFunc) error {
				cancel()
				return nil
			},
			added: 80, want: "imported ",
		},
	}
	for name, tt := range tests {
		for _, kind := range []string{"local", "served"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				db, local, store, settled := openSmall(t, kind)
				catalog := local.catalog
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				told := make(chan struct{})     // closed when the sender knows of the first part
				returned := make(chan struct{}) // closed when it has given up
				store.before = func(commit int) error {
					if commit == 2 {
						<-told
						return tt.at2(cancel)
					}
					if commit == 3 {
						<-returned
					}
					return nil
				}
				result, err := db.importFrom(ctx, strings.NewReader(sourceLines(100)), importOptions{}, func(p importParts) {
					if p.Commits == 1 {
						close(told)
					}
				})
				close(returned)
				require.Error(t, err)
				require.Contains(t, importFailed(result, err).Error(), tt.want)
				require.LessOrEqual(t, result.Added, catalog.Len())
				require.Positive(t, result.Commits)

				settled()
				store.before = nil
				result, err = local.importFrom(t.Context(), strings.NewReader(sourceLines(100)), importOptions{}, noParts)
				require.NoError(t, err)
				require.LessOrEqual(t, result.Added, 100-tt.added)
				require.Zero(t, result.Bad.Len())
				require.Equal(t, 100, catalog.Len())
			})
		}
	}
}

// If somebody takes a name between two commits, the import names it and says what was
// imported.
func TestImportInPartsMeetsAnotherWriter(t *testing.T) {
	db, local, _, _ := openSmall(t, "local")
	result, err := db.importFrom(t.Context(), strings.NewReader(sourceLines(100)), importOptions{}, func(p importParts) {
		if p.Commits == 0 { // all are checked, and none imported
			_, err := local.catalog.Create(t.Context(), customstatus.Fields{Name: "name 99", StatusType: "away"})
			require.NoError(t, err)
		}
	})
	require.NoError(t, err)
	require.Equal(t, 80, result.Added)
	require.Equal(t, 2, result.Commits)
	require.Len(t, result.Bad.Values, 1)
	require.Equal(t, "line 100 (value 100)", result.Bad.Values[0].Where)
	require.Equal(t, 81, local.catalog.Len())
}

// An import that is refused halfway does not say that nothing was imported.
func TestImportRefusedHalfway(t *testing.T) {
	var errs bytes.Buffer
	p := &process{stderr: &errs}
	err := p.importRefused(importInput{name: "x.jsonl"}, importResult{Read: 100, Added: 80, Commits: 2, Bad: statusfile.Bad{Values: []statusfile.BadValue{{Where: "line 100 (value 100)", Reason: "taken"}}}}, false, importOptions{onConflict: conflictFails})
	require.EqualError(t, err, "imported 80 in 2 commits, but not the rest; run the import again to import the rest: 1 bad")
	require.Equal(t, "customstatusd: x.jsonl: line 100 (value 100): taken\n", errs.String())
}

// A line without an id or a time is left out if the catalog has the same status
// otherwise. If the name is taken by a different status, the line is refused.
func TestImportCompletesLines(t *testing.T) {
	const there = `{"_id":"1","name":"a","statusType":"busy","_updatedAt":"2021-09-26T14:03:43.057Z","metadata":"m"}`
	tests := map[string]struct {
		line string
		bad  string
	}{
		"name and type":    {`{"name":"a","statusType":"busy"}`, ""},
		"with id":          {`{"_id":"1","name":"a","statusType":"busy"}`, ""},
		"with time":        {`{"name":"a","statusType":"busy","_updatedAt":"2021-09-26T14:03:43.057Z"}`, ""},
		"with metadata":    {`{"name":"a","statusType":"busy","metadata":"m"}`, ""},
		"another type":     {`{"name":"a","statusType":"away"}`, `the name "a" belongs to status "1"`},
		"another time":     {`{"name":"a","statusType":"busy","_updatedAt":"2022-09-26T14:03:43.057Z"}`, `the name "a" belongs to status "1"`},
		"another metadata": {`{"name":"a","statusType":"busy","metadata":"n"}`, `the name "a" belongs to status "1"`},
		"another id":       {`{"_id":"2","name":"a","statusType":"busy"}`, `the name "a" belongs to status "1"`},
		"another name":     {`{"_id":"1","name":"b","statusType":"busy"}`, `the id "1" is in use: by the status named "a"`},
	}
	db := openTemp(t)
	_, err := db.importFrom(t.Context(), strings.NewReader(there), importOptions{}, noParts)
	require.NoError(t, err)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			result, err := db.importFrom(t.Context(), strings.NewReader(tt.line), importOptions{}, noParts)
			require.NoError(t, err)
			require.Zero(t, result.Added)
			if tt.bad == "" {
				require.Zero(t, result.Bad.Len())
				return
			}
			require.Equal(t, []statusfile.BadValue{{Where: "line 1 (value 1)", Reason: tt.bad}}, result.Bad.Values)
		})
	}
}

// Text of a file that a report repeats can't control a terminal.
func TestReportsAreQuoted(t *testing.T) {
	const evil = `\u001b[2J\nline 7: \u202e`
	const quoted = `"\x1b[2J\nline 7: \u202e"`
	for text, want := range map[string]string{
		`{"name":"` + evil + `","statusType":"busy"}`:                                        `name ` + quoted + ` is not valid`,
		`{"name":"a","statusType":"` + evil + `"}`:                                           `status type ` + quoted + ` is not valid`,
		`{"_id":"` + evil + `","name":"a","statusType":"busy"}`:                              `id ` + quoted,
		`{"` + evil + `":1}`:                                                                 `key ` + quoted + `: unknown key`,
		`{"_id":{"` + evil + `":1}}`:                                                         `key "_id": key ` + quoted,
		`{"name":"name","statusType":"busy"}` + "\n" + `{"name":"name","statusType":"busy"}`: `the name "name" belongs to status "`,
	} {
		db, err := openLocal(t.Context(), at(filepath.Join(t.TempDir(), "x.db")), true, customstatus.Options{})
		require.NoError(t, err)
		result, err := db.importFrom(t.Context(), strings.NewReader(text), importOptions{}, noParts)
		require.NoError(t, errors.Join(err, db.close()))
		require.Len(t, result.Bad.Values, 1)
		require.Contains(t, result.Bad.Values[0].Reason, want)
	}
}
