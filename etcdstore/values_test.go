package etcdstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore/etcdtest"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		opts Options
		want string
	}{
		{"prefix without slash", Options{Prefix: "/chat"}, "slash"},
		{"negative time", Options{MemberTimeout: -1}, "negative"},
		{"negative number", Options{PageSize: -1}, "negative"},
		{"short lease", Options{LeaseTTL: time.Second}, "minute"},
		{"lease of two requests", Options{LeaseTTL: time.Minute, Timeout: time.Minute}, "twice"},
		{"few operations", Options{MaxTxnOps: 97}, "98"},
		{"small requests", Options{MaxRequestBytes: 1000}, "1 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(nil, &tt.opts)
			require.ErrorContains(t, err, tt.want)
		})
	}
	got, err := (*Options)(nil).complete()
	require.NoError(t, err)
	require.Equal(t, Options{
		Prefix: "/customstatus/", Timeout: 8 * time.Second, MemberTimeout: 2 * time.Second, LeaseTTL: 10 * time.Minute,
		ProgressInterval: time.Second, ProofInterval: 10 * time.Minute, PageSize: 10_000, MaxTxnOps: 128, MaxRequestBytes: 1.5 * (1 << 20),
		Logger: slog.Default(),
	}, got)
}

// parsed is a status whose record was written and read.
func parsed(t *testing.T, s customstatus.CustomUserStatus) customstatus.CustomUserStatus {
	t.Helper()
	k := keysUnder("/p/")
	got, err := k.parseRecord(&mvccpb.KeyValue{Key: k.record(s.ID), Value: appendRecord(nil, &s), ModRevision: int64(s.Revision)})
	require.NoError(t, err)
	return got
}

func FuzzRecord(f *testing.F) {
	f.Add("id", "name", "busy", "", int64(0))
	f.Add("\xff", "\x00", "", "{}", int64(-62167219200000))
	f.Fuzz(func(t *testing.T, id, name, statusType, metadata string, ms int64) {
		s := customstatus.CustomUserStatus{ID: id, Name: name, StatusType: customstatus.StatusType(statusType), Metadata: metadata,
			UpdatedAt: time.UnixMilli(ms % (1 << 47)).UTC(), Revision: 7}
		require.Equal(t, s, parsed(t, s))
	})
}

// Whatever is in the cluster, reading it does not panic.
func FuzzParse(f *testing.F) {
	s := create("id", "name").After
	f.Add(appendRecord(nil, &s))
	f.Add(appendHead(nil, []customstatus.Change{create("id", "name")}))
	f.Add([]byte{format, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, value []byte) {
		k := keysUnder("/p/")
		for _, err := range []error{
			func() error { _, err := k.parseRecord(&mvccpb.KeyValue{Key: k.record("id"), Value: value}); return err }(),
			func() error { _, err := parseHead(&mvccpb.KeyValue{Value: value}); return err }(),
		} {
			require.True(t, err == nil || errors.Is(err, customstatus.ErrDamaged) || errors.Is(err, ErrNewerFormat), err)
		}
	})
}

// What a newer version has written is read as far as it is known, and stops writing.
func TestNewerFormat(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	client := cluster.Client(t)
	record := func(version byte, extra string) string {
		s := create("a", "x").After
		b := appendRecord(nil, &s)
		b[0] = version
		return string(b) + extra
	}
	head := func(version byte, extra string) string {
		return string(append([]byte{version, 1, 0}, extra...))
	}
	unknownField := string(binary.AppendUvarint(binary.AppendUvarint(nil, 99), 3)) + "new"
	tests := []struct{ name, record, head string }{
		{"record with an unknown field", record(format, unknownField), head(format, "")},
		{"record of a newer format", record(format+1, ""), head(format, "")},
		{"revision of a newer format", record(format, ""), head(format+1, "")},
		{"revision with more", record(format, ""), head(format, "more")},
	}
	for i, tt := range tests {
		for _, way := range []string{"load", "watch"} {
			t.Run(tt.name+" "+way, func(t *testing.T) {
				prefix := fmt.Sprintf("/%d%s/", i, way)
				s := openOn(t, cluster, &wire{}, Options{Prefix: prefix, ProofInterval: time.Hour})
				writeRaw := func() {
					_, err := client.Txn(ctx).Then(opPut(prefix+"s/a", tt.record), opPut(prefix+"n/x", "a"), opPut(prefix+"revision", tt.head)).Commit()
					require.NoError(t, err)
				}
				if way == "load" {
					writeRaw()
					require.Equal(t, "x", load(t, s)["a"].Name)
				} else {
					begun := false
					for c, err := range s.Watch(ctx, 0) {
						require.NoError(t, err)
						if !begun {
							begun = true
							writeRaw()
						}
						if len(c.Changes) > 0 {
							require.Equal(t, "x", c.Changes[0].After.Name)
							break
						}
					}
				}
				_, err := s.Commit(ctx, []customstatus.Change{create("b", "y")})
				require.ErrorContains(t, err, "upgrade this program")
				require.ErrorIs(t, err, ErrNewerFormat)
				require.Len(t, load(t, s), 1)

				// Once nothing newer is left, writes go on.
				_, err = client.Txn(ctx).Then(opPut(prefix+"s/a", record(format, "")), opPut(prefix+"revision", head(format, ""))).Commit()
				require.NoError(t, err)
				require.Len(t, load(t, s), 1)
				_, err = s.Commit(ctx, []customstatus.Change{create("b", "y"), rename(t, s, "a", "z")})
				require.NoError(t, err)
			})
		}
	}
}

// A load doesn't make the store forget what a watcher has met in the meantime.
func TestNewerFormatDuringALoad(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	client := cluster.Client(t)
	w := &wire{}
	s := openOn(t, cluster, w, Options{ProofInterval: time.Hour})
	at := must(s.Commit(ctx, []customstatus.Change{create("a", "x")}))
	b := create("b", "y").After
	newer := appendRecord(nil, &b)
	newer[0] = format + 1
	w.set(func(_ string, req any, send func() error) error {
		r, ok := req.(*pb.RangeRequest)
		if !ok || !r.CountOnly {
			return send()
		}
		w.set(nil)
		_, err := client.Txn(ctx).Then(opPut(DefaultPrefix+"s/b", string(newer)), opPut(DefaultPrefix+"n/y", "b"), opPut(DefaultPrefix+"revision", "\x01\x01\x00")).Commit()
		require.NoError(t, err)
		for c, err := range s.Watch(ctx, at) {
			require.NoError(t, err)
			if len(c.Changes) > 0 {
				break
			}
		}
		return send()
	})
	require.Len(t, load(t, s), 1, "what was there before")
	_, err := s.Commit(ctx, []customstatus.Change{create("c", "z")})
	require.ErrorIs(t, err, ErrNewerFormat)
}

// The cluster may forget the revision that is being read.
func TestCompactedDuringALoad(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	client := cluster.Client(t)
	w := &wire{}
	s := openOn(t, cluster, w, Options{PageSize: 2})
	for i := range 5 {
		must(s.Commit(ctx, []customstatus.Change{create(fmt.Sprint(i), fmt.Sprint(i))}))
	}
	left := 3
	w.set(func(_ string, req any, send func() error) error {
		if r, ok := req.(*pb.RangeRequest); ok && r.Revision > 0 && !r.CountOnly && left > 0 {
			left--
			must(client.Put(ctx, "foreign", "one"))
			must(client.Compact(ctx, must(client.Put(ctx, "foreign", "two")).Header.Revision))
		}
		return send()
	})
	require.Len(t, load(t, s), 5)
	require.Zero(t, left)
}

// What no commit has written is reported, by Load and by a watcher.
func TestDamage(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	client := cluster.Client(t)
	tests := []struct{ name, key, value string }{
		{"an empty record", "s/a", ""},
		{"a record of format 0", "s/a", "\x00"},
		{"a record without a time", "s/a", "\x01"},
		{"a record that is cut off", "s/a", "\x01\x01\x09x"},
		{"a time that is cut off", "s/a", "\x01\x04\x01\xff"},
		{"a record beside commits", "s/c", string(appendRecord(nil, &customstatus.CustomUserStatus{Name: "c"}))},
		{"a record taken away", "s/a", "-"},
		{"a name beside commits", "n/c", "c"},
		{"a name taken away", "n/x", "-"},
		{"an empty revision", "revision", ""},
		{"a revision that is cut off", "revision", "\x01\x09"},
		{"a revision taken away", "revision", "-"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			prefix := fmt.Sprintf("/%d/", i)
			s := openOn(t, cluster, &wire{}, Options{Prefix: prefix})
			at, err := s.Commit(ctx, []customstatus.Change{create("a", "x"), create("b", "y")})
			require.NoError(t, err)
			begun := false
			for _, err := range s.Watch(ctx, at) {
				if !begun {
					require.NoError(t, err)
					begun = true
					if tt.value == "-" {
						_, err = client.Delete(ctx, prefix+tt.key)
					} else {
						_, err = client.Put(ctx, prefix+tt.key, tt.value)
					}
					require.NoError(t, err)
					if strings.HasPrefix(tt.key, "n/") {
						break // a watcher has it from the proof only
					}
					continue
				}
				if err != nil {
					require.ErrorIs(t, err, customstatus.ErrDamaged)
				}
			}
			_, err = s.Load(ctx)
			require.ErrorIs(t, err, customstatus.ErrDamaged)
			if tt.name != "a revision taken away" {
				for _, err := range s.Watch(ctx, must(s.Revision(ctx))) {
					if err != nil {
						require.ErrorIs(t, err, customstatus.ErrDamaged, "the proof finds it")
					}
				}
			}
		})
	}
}

// What was wrong and has been mended keeps no watcher from what came before it for ever:
// the watcher's catalog loads, and goes on from there.
func TestMendedDamage(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	client := cluster.Client(t)
	for i, damage := range []struct{ key, value string }{
		{"s/stray", "\x01stray"},
		{"s/stray", string(appendRecord(nil, &customstatus.CustomUserStatus{Name: "c"}))},
		{"revision", ""},
	} {
		t.Run(damage.key, func(t *testing.T) {
			prefix := fmt.Sprintf("/%d/", i)
			s := openOn(t, cluster, &wire{}, Options{Prefix: prefix})
			before := must(s.Commit(ctx, []customstatus.Change{create("a", "x")}))
			must(client.Put(ctx, prefix+damage.key, damage.value))
			if damage.key != "revision" { // which the next commit mends
				must(client.Delete(ctx, prefix+damage.key))
			}
			must(s.Commit(ctx, []customstatus.Change{create("b", "y")}))
			for _, err := range s.Watch(ctx, before) {
				if err != nil {
					require.ErrorIs(t, err, customstatus.ErrCompacted)
					require.ErrorIs(t, err, customstatus.ErrDamaged, "it says why")
				}
			}
			all, err := s.Load(ctx)
			require.NoError(t, err)
			for commit, err := range s.Watch(ctx, all.Revision) {
				require.NoError(t, err)
				if commit.FingerprintKnown {
					break
				}
			}
		})
	}
}

func TestPrefixesAreApart(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	var all []*Store
	for _, prefix := range []string{"/a/", "/a/b/", "/b/", "/"} {
		all = append(all, openOn(t, cluster, &wire{}, Options{Prefix: prefix}))
	}
	for i, s := range all {
		_, err := s.Commit(ctx, []customstatus.Change{create("id", "name"), create(fmt.Sprint(i), fmt.Sprint(i))})
		require.NoError(t, err)
	}
	for i, s := range all {
		require.Len(t, load(t, s), 2)
		_, err := s.Commit(ctx, []customstatus.Change{rename(t, s, "id", fmt.Sprint("new ", i))})
		require.NoError(t, err)
		replays(t, s, 2)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	s := openOn(t, cluster, &wire{}, Options{})
	creates := func(n, metadata int) (changes []customstatus.Change) {
		for i := range n {
			c := create(fmt.Sprint("id ", i), fmt.Sprint("name ", i))
			c.After.Metadata = strings.Repeat("m", metadata)
			changes = append(changes, c)
		}
		return changes
	}
	renames := func(n int) (changes []customstatus.Change) {
		all := load(t, s)
		for i := range n {
			before := all[fmt.Sprint("id ", i)]
			after := before
			after.Name = "new " + before.Name
			changes = append(changes, customstatus.Change{Kind: customstatus.Updated, Before: before, After: after})
		}
		return changes
	}
	most := func(err error) int {
		t.Helper()
		require.ErrorIs(t, err, customstatus.ErrTooLarge)
		tooLarge := (*customstatus.TooLargeError)(nil)
		require.ErrorAs(t, err, &tooLarge)
		return tooLarge.MaxChanges
	}
	_, err := s.Commit(ctx, creates(64, 0))
	require.Equal(t, 42, most(err))
	_, err = s.Commit(ctx, creates(63, 0))
	require.NoError(t, err)
	_, err = s.Commit(ctx, renames(43))
	require.Equal(t, 42, most(err))
	_, err = s.Commit(ctx, renames(42))
	require.NoError(t, err)
	replays(t, s, 2)

	// The size counts as well.
	s = openOn(t, cluster, &wire{}, Options{Prefix: "/large/"})
	_, err = s.Commit(ctx, creates(1, 2<<20))
	require.Zero(t, most(err))
	_, err = s.Commit(ctx, creates(40, 100_000))
	fits := most(err)
	require.Positive(t, fits)
	_, err = s.Commit(ctx, creates(fits, 100_000))
	require.NoError(t, err)
	_, err = s.Commit(ctx, creates(customstatus.MinCommitChanges, customstatus.MaxMetadataBytes)[fits:])
	require.NoError(t, err)
	replays(t, s, 2)

	// A cluster can take more, if it was told so.
	more := etcdtest.Start(t, &etcdtest.Options{MaxTxnOps: 1000})
	s = openOn(t, more, &wire{}, Options{MaxTxnOps: 1000})
	_, err = s.Commit(ctx, creates(499, 0))
	require.NoError(t, err)
	_, err = s.Commit(ctx, renames(332))
	require.NoError(t, err)
	_, err = s.Commit(ctx, renames(333))
	require.Equal(t, 332, most(err))
	s = openOn(t, cluster, &wire{}, Options{Prefix: "/toomany/", MaxTxnOps: 1000})
	_, err = s.Commit(ctx, creates(200, 0))
	require.ErrorContains(t, err, "Options.MaxTxnOps")
	require.NotErrorIs(t, err, customstatus.ErrTooLarge)
	_, err = s.Commit(ctx, creates(63, 0))
	require.NoError(t, err)
}

// A commit that comes in fragments is one commit, whichever events they have.
func TestFragmentsOfOneCommit(t *testing.T) {
	t.Parallel()
	s := &Store{opts: *silent(Options{}), keys: keysUnder(DefaultPrefix)}
	put := func(revision int64, key string, value []byte) *mvccpb.Event {
		return &mvccpb.Event{Type: mvccpb.Event_PUT, Kv: &mvccpb.KeyValue{Key: []byte(key), Value: value, ModRevision: revision}}
	}
	changes := []customstatus.Change{create("a", "x"), create("b", "y")}
	var events []*mvccpb.Event
	for revision := int64(6); revision <= 7; revision++ {
		for i := range changes {
			events = append(events, put(revision, string(s.keys.record(changes[i].ID())), appendRecord(nil, &changes[i].After)))
		}
		events = append(events, put(revision, s.keys.revision, appendHead(nil, changes)))
	}
	for size := 1; size <= len(events); size++ {
		var got []customstatus.Commit
		w := &watcher{Store: s, at: 5, seen: 5, yield: func(c customstatus.Commit) bool {
			got = append(got, c)
			return true
		}}
		for range 2 { // what has been yielded is forgotten
			got, w.at, w.seen = nil, 5, 5
			for part := range slices.Chunk(events, size) {
				require.Empty(t, got)
				last := part[len(part)-1] == events[len(events)-1]
				require.NoError(t, w.take(&pb.WatchResponse{Header: &pb.ResponseHeader{Revision: 7}, Events: part, Fragment: !last}))
			}
			require.Len(t, got, 2)
			for i, c := range got {
				require.EqualValues(t, 6+i, c.Revision)
				require.Len(t, c.Changes, 2)
			}
		}
	}
}

// The answers to a watcher can be larger than a message, and come in fragments.
func TestFragments(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	s := openOn(t, cluster, &wire{}, Options{PageSize: 3})
	for i := range 8 {
		var changes []customstatus.Change
		for j := range 10 {
			c := create(fmt.Sprint(i, j), fmt.Sprint(i, j))
			c.After.Metadata = strings.Repeat(fmt.Sprint(j), 100_000)
			changes = append(changes, c)
		}
		_, err := s.Commit(ctx, changes)
		require.NoError(t, err)
	}
	replays(t, s, 8)
}
