package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// exported returns the catalog in short: "id name type metadata" of each status.
func exported(t *testing.T, db *localDatabase) (lines []string) {
	t.Helper()
	for s, err := range db.catalog.All() {
		require.NoError(t, err)
		lines = append(lines, strings.TrimSpace(fmt.Sprint(s.ID, " ", s.Name, " ", s.StatusType, " ", s.Metadata)))
	}
	return lines
}

func TestImportOnConflict(t *testing.T) {
	const there = `{"_id":"1","name":"a","statusType":"busy","metadata":"m"}{"_id":"2","name":"b","statusType":"busy"}{"_id":"3","name":"c","statusType":"busy"}`
	catalog := []string{"1 a busy m", "2 b busy", "3 c busy"}
	for name, tt := range map[string]struct {
		policy, source string
		want           importResult // without Read and Bad
		catalog        []string     // nil if it is as before
		bad            string
		conflicts      string // of a dry run
	}{
		"fail": {
			policy: conflictFails, source: `{"_id":"1","name":"x","statusType":"away"}{"name":"b","statusType":"away"}{"name":"c","statusType":"busy"}{"_id":"9","name":"d","statusType":"busy"}`,
			bad:       `line 1 (value 1): the id "1" is in use: by the status named "a"` + "\n" + `line 1 (value 2): the name "b" belongs to status "2"` + "\n",
			conflicts: `value 1 refuse the id "1" is in use: by the status named "a"` + "\n" + `value 2 refuse the name "b" belongs to status "2"` + "\n",
		},
		"skip": {
			policy: conflictSkips, source: `{"_id":"1","name":"x","statusType":"away"}{"name":"b","statusType":"away"}{"name":"c","statusType":"busy"}{"_id":"9","name":"d","statusType":"busy"}{"_id":"9","name":"e","statusType":"busy"}{"name":"d","statusType":"away"}`,
			want: importResult{Added: 1, Skipped: 4, Commits: 1}, catalog: append(slices.Clone(catalog), "9 d busy"),
			conflicts: `value 1 skip the id "1" is in use: by the status named "a"` + "\n" + `value 2 skip the name "b" belongs to status "2"` + "\n" +
				`value 5 skip the id "9" is in use: by the status named "d"` + "\n" + `value 6 skip the name "d" belongs to status "9"` + "\n",
		},
		"update by id and by name": {
			policy: conflictUpdates, source: `{"_id":"1","name":"x","statusType":"away"}{"_id":"7","name":"b","statusType":"away","metadata":"n"}{"name":"c","statusType":"busy"}{"_id":"9","name":"d","statusType":"busy"}`,
			want: importResult{Added: 1, Updated: 2, Commits: 1}, catalog: []string{"2 b away n", "3 c busy", "9 d busy", "1 x away m"},
			conflicts: `value 1 update name "a" to "x", status type "busy" to "away"` + "\n" + `value 2 update status type "busy" to "away", metadata` + "\n",
		},
		"a name that an update frees": {
			policy: conflictUpdates, source: `{"_id":"9","name":"a","statusType":"busy"}{"_id":"1","name":"b","statusType":"busy"}{"_id":"2","name":"c","statusType":"busy"}{"_id":"3","name":"d","statusType":"busy"}`,
			want: importResult{Added: 1, Updated: 3, Commits: 1}, catalog: []string{"9 a busy", "1 b busy m", "2 c busy", "3 d busy"},
			conflicts: `value 2 update name "a" to "b"` + "\n" + `value 3 update name "b" to "c"` + "\n" + `value 4 update name "c" to "d"` + "\n",
		},
		"names that change places": {
			policy: conflictUpdates, source: `{"_id":"1","name":"b","statusType":"busy"}{"_id":"2","name":"a","statusType":"busy"}{"_id":"3","name":"d","statusType":"busy"}`,
			bad: `line 1 (value 1): the name "b" belongs to status "2", whose own new name is not free before` + "\n" +
				`line 1 (value 2): the name "a" belongs to status "1", whose own new name is not free before` + "\n",
			conflicts: `value 1 refuse the name "b" belongs to status "2", whose own new name is not free before` + "\n" +
				`value 2 refuse the name "a" belongs to status "1", whose own new name is not free before` + "\n" + `value 3 update name "c" to "d"` + "\n",
		},
		"a name that stays": {
			policy: conflictUpdates, source: `{"_id":"1","name":"b","statusType":"busy"}`,
			bad: `line 1 (value 1): the name "b" belongs to status "2"` + "\n", conflicts: `value 1 refuse the name "b" belongs to status "2"` + "\n",
		},
		"twice in the source": {
			policy: conflictUpdates, source: `{"name":"a","statusType":"away"}{"name":"a","statusType":"busy"}{"_id":"5","name":"e","statusType":"away"}` + "\n" + `{"_id":"5","name":"f","statusType":"away"}`,
			bad:       `line 1 (value 2): the name "a" is also in line 1 (value 1)` + "\n" + `line 2 (value 4): the id "5" is also in line 1 (value 3)` + "\n",
			conflicts: `value 1 update status type "busy" to "away"` + "\n" + `value 2 refuse the name "a" is also in line 1 (value 1)` + "\n" + `value 4 refuse the id "5" is also in line 1 (value 3)` + "\n",
		},
		"nothing to update": {
			policy: conflictUpdates, source: `{"_id":"1","name":"a","statusType":"busy","_updatedAt":"2001-01-01T00:00:00Z"}{"_id":"7","name":"b","statusType":"busy"}`,
		},
	} {
		for _, kind := range []string{"local", "served"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				db, local, _, _ := openSmall(t, kind)
				_, err := db.importFrom(t.Context(), strings.NewReader(there), importOptions{}, noParts)
				require.NoError(t, err)
				before := local.catalog.Position()

				var conflicts string
				found := func(c conflict) {
					_, value, _ := strings.Cut(c.Where, "(")
					conflicts += fmt.Sprint(strings.TrimSuffix(value, ")"), " ", c.Does, " ", c.Why, "\n")
				}
				dry, err := db.importFrom(t.Context(), strings.NewReader(tt.source), importOptions{onConflict: tt.policy, dryRun: true, found: found}, noParts)
				require.NoError(t, err)
				require.Equal(t, tt.conflicts, conflicts)
				require.Equal(t, before, local.catalog.Position(), "a dry run writes nothing")
				require.Zero(t, dry.Bad.Len())

				result, err := db.importFrom(t.Context(), strings.NewReader(tt.source), importOptions{onConflict: tt.policy}, noParts)
				require.NoError(t, err)
				var bad strings.Builder
				for _, b := range result.Bad.Values {
					bad.WriteString(b.Where + ": " + b.Reason + "\n")
				}
				require.Equal(t, tt.bad, bad.String())
				require.Equal(t, result.Bad.Len(), dry.Refused)
				want := tt.catalog
				if want == nil {
					want = catalog
				}
				require.Equal(t, want, exported(t, local))
				if bad.String() != "" {
					return
				}
				require.Equal(t, [3]int{result.Added, result.Updated, result.Skipped}, [3]int{dry.Added, dry.Updated, dry.Skipped})
				require.Equal(t, result.Updated > 0, result.UpdateCommits > 0)
				require.LessOrEqual(t, result.UpdateCommits, result.Updated)
				result.Read, result.UpdateCommits, result.Bad.Values = 0, 0, nil
				require.Equal(t, tt.want, result)

				after := local.catalog.Position()
				result, err = db.importFrom(t.Context(), strings.NewReader(tt.source), importOptions{onConflict: tt.policy}, noParts)
				require.NoError(t, err)
				require.Zero(t, result.Added+result.Updated+result.Commits+result.Bad.Len())
				require.Equal(t, after, local.catalog.Position(), "the same file twice changes nothing")
			})
		}
	}
}

// What a dry run says, the import does, whatever is in the catalog and the source; and
// a second one changes nothing.
func TestDryRunTellsTheTruth(t *testing.T) {
	types := []string{"busy", "away"}
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		text := func(ids, names, n int) string {
			var b strings.Builder
			for range n {
				b.WriteString(`{`)
				if id := r.IntN(ids + 1); id > 0 {
					fmt.Fprintf(&b, `"_id":"%d",`, id)
				}
				if r.IntN(4) == 0 {
					b.WriteString(`"_updatedAt":"2021-09-26T14:03:43.057Z",`)
				}
				if r.IntN(4) == 0 {
					fmt.Fprintf(&b, `"metadata":"%d",`, r.IntN(2))
				}
				fmt.Fprintf(&b, `"name":"%c","statusType":"%s"}`, 'a'+r.IntN(names), types[r.IntN(2)])
			}
			return b.String()
		}
		db, err := openEmpty(t.Context(), customstatus.Rules{})
		require.NoError(t, err)
		ctx := t.Context()
		_, err = db.importFrom(ctx, strings.NewReader(text(6, 6, 5)), importOptions{onConflict: conflictSkips}, noParts)
		require.NoError(t, err)
		source := text(6, 8, 1+r.IntN(5))
		policy := []string{conflictFails, conflictSkips, conflictUpdates}[seed%3]
		why := fmt.Sprint(seed, " ", policy, "\n", source, "\n", strings.Join(exported(t, db), "\n"))

		before := db.catalog.Position()
		var refused []string
		dry, err := db.importFrom(ctx, strings.NewReader(source), importOptions{onConflict: policy, dryRun: true, found: func(c conflict) {
			if c.Does == "refuse" {
				refused = append(refused, c.Where+c.Why)
			}
		}}, noParts)
		require.NoError(t, err, why)
		require.Equal(t, before, db.catalog.Position(), why)
		result, err := db.importFrom(ctx, strings.NewReader(source), importOptions{onConflict: policy}, noParts)
		require.NoError(t, err, why)
		require.Len(t, refused, dry.Refused, why)
		require.Equal(t, dry.Refused, result.Bad.Len(), why)
		for i, bad := range result.Bad.Values {
			require.Equal(t, bad.Where+bad.Reason, refused[i], why)
		}
		if dry.Refused > 0 {
			require.Equal(t, before, db.catalog.Position(), why)
			require.NoError(t, db.close())
			continue
		}
		require.Equal(t, [3]int{dry.Added, dry.Updated, dry.Skipped}, [3]int{result.Added, result.Updated, result.Skipped}, why)
		after := db.catalog.Position()
		result, err = db.importFrom(ctx, strings.NewReader(source), importOptions{onConflict: policy}, noParts)
		require.NoError(t, err, why)
		require.Zero(t, result.Added+result.Updated+result.Bad.Len(), why)
		require.Equal(t, after, db.catalog.Position(), why)
		require.NoError(t, db.close())
	}
}

// updated counts the statuses of type away.
func updated(t *testing.T, db *localDatabase) (n int) {
	for s, err := range db.catalog.All() {
		require.NoError(t, err)
		if s.StatusType == customstatus.Away {
			n++
		}
	}
	return n
}

// An update import that ends early says truly what it did, and running it again
// finishes it.
func TestImportUpdatesEndEarly(t *testing.T) {
	const many = 3*updatesAtOnce + 1
	var there, source strings.Builder
	for i := range many {
		fmt.Fprintf(&there, `{"_id":"%d","name":"old %d","statusType":"busy"}`, i, i)
		fmt.Fprintf(&source, `{"_id":"%d","name":"new %d","statusType":"away"}`, i, i)
	}
	for _, kind := range []string{"local", "served"} {
		t.Run(kind, func(t *testing.T) {
			db, local, store, _ := openSmall(t, kind)
			_, err := local.importFrom(t.Context(), strings.NewReader(there.String()), importOptions{}, noParts)
			require.NoError(t, err)
			made := 0
			full := fmt.Errorf("no space")
			store.before = func(int) error {
				if made++; made > 20 {
					return full
				}
				return nil
			}
			opts := importOptions{onConflict: conflictUpdates}
			result, err := db.importFrom(t.Context(), strings.NewReader(source.String()), opts, noParts)
			require.ErrorContains(t, err, "no space")
			require.Positive(t, result.Updated)
			require.Equal(t, updated(t, local), result.Updated)
			require.Contains(t, importFailed(result, err).Error(), fmt.Sprintf("updated %d, but not the rest; run the import again to import the rest: ", result.Updated))

			store.before = nil
			again, err := db.importFrom(t.Context(), strings.NewReader(source.String()), opts, noParts)
			require.NoError(t, err)
			require.Equal(t, many, result.Updated+again.Updated)
			require.Equal(t, many, updated(t, local))
		})
	}
}

// An update import that is interrupted is finished by the next one.
func TestImportUpdatesInterrupted(t *testing.T) {
	const many = 2*updatesAtOnce + 1
	var there, source strings.Builder
	for i := range many {
		fmt.Fprintf(&there, `{"_id":"%d","name":"old %d","statusType":"busy"}`, i, i)
		fmt.Fprintf(&source, `{"_id":"%d","name":"new %d","statusType":"away"}`, i, i)
	}
	for _, kind := range []string{"local", "served"} {
		t.Run(kind, func(t *testing.T) {
			db, local, store, settled := openSmall(t, kind)
			_, err := local.importFrom(t.Context(), strings.NewReader(there.String()), importOptions{}, noParts)
			require.NoError(t, err)
			returned := make(chan struct{}) // closed when the sender has given up
			store.before = func(int) error {
				if updated(t, local) == updatesAtOnce { // the second part begins
					<-returned
				}
				return nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			opts := importOptions{onConflict: conflictUpdates}
			result, err := db.importFrom(ctx, strings.NewReader(source.String()), opts, func(importParts) { cancel() })
			close(returned)
			require.Error(t, err)
			require.Contains(t, importFailed(result, err).Error(), "updated ")
			require.GreaterOrEqual(t, result.Updated, updatesAtOnce)
			settled()
			again, err := local.importFrom(t.Context(), strings.NewReader(source.String()), opts, noParts)
			require.NoError(t, err)
			require.LessOrEqual(t, result.Updated+again.Updated, many, "what was reported is not made again")
			require.Equal(t, many, updated(t, local))
		})
	}
}

// Another writer who takes a name between the plan and the update is not overwritten.
func TestImportUpdateMeetsAnotherWriter(t *testing.T) {
	db, local, _, _ := openSmall(t, "local")
	var there, source strings.Builder
	for i := range 2*updatesAtOnce + 1 {
		fmt.Fprintf(&there, `{"_id":"%d","name":"old %d","statusType":"busy"}`, i, i)
		fmt.Fprintf(&source, `{"_id":"%d","name":"new %d","statusType":"away"}`, i, i)
	}
	_, err := local.importFrom(t.Context(), strings.NewReader(there.String()), importOptions{}, noParts)
	require.NoError(t, err)
	result, err := db.importFrom(t.Context(), strings.NewReader(source.String()), importOptions{onConflict: conflictUpdates}, func(p importParts) {
		if p.Updated == updatesAtOnce && local.catalog.Len() == 2*updatesAtOnce+1 {
			_, err := local.catalog.Create(t.Context(), customstatus.Fields{Name: fmt.Sprint("new ", updatesAtOnce), StatusType: "away"})
			require.NoError(t, err)
		}
	})
	require.NoError(t, err)
	require.Equal(t, 2*updatesAtOnce-1, result.Updated, "the rest of the part, and no more parts")
	require.Len(t, result.Bad.Values, 1)
	require.Contains(t, result.Bad.Values[0].Reason, fmt.Sprintf(`the name "new %d" belongs to status "`, updatesAtOnce))
	var errs bytes.Buffer
	require.ErrorContains(t, (&process{stderr: &errs}).importRefused(importInput{name: "x"}, result, false, importOptions{onConflict: conflictFails}), fmt.Sprintf("updated %d, but not the rest; run the import again", 2*updatesAtOnce-1))
}

// A server refuses options of an import that it does not know.
func TestImportOptionsOfARequest(t *testing.T) {
	for _, o := range []importOptions{{onConflict: conflictFails}, {onConflict: conflictSkips, dryRun: true}, {onConflict: conflictUpdates}, {onConflict: conflictFails, exact: true}} {
		got, err := parseImportQuery(o.query())
		require.NoError(t, err)
		require.Equal(t, o, got)
	}
	db, err := openLocal(t.Context(), at(filepath.Join(t.TempDir(), "x.db")), true, customstatus.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.close()) })
	served, _ := controlServer(t, db, nil)
	for _, query := range []string{"", "dry-run=true", "on-conflict=fail", "on-conflict=replace&dry-run=true", "dry-run=1&on-conflict=fail", "dry-run=true&on-conflict=fail&more=1", "dry-run=true&exact=false&on-conflict=fail", "%"} {
		_, err := parseImportQuery(query)
		require.Error(t, err, query)
		if query != "%" {
			_, err = served.do(t.Context(), "POST", "/import?"+query, newUpload(strings.NewReader(`{"name":"a","statusType":"busy"}`)))
			require.ErrorContains(t, err, "unknown options of an import")
		}
	}
	require.Zero(t, db.catalog.Len())
}
