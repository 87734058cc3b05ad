package contestant

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/buntdb"

	"github.com/customstatus/customstatus"
)

// TestConformance checks that every contestant keeps the interface's promises. The time
// of a contestant that breaks one means nothing.
func TestConformance(t *testing.T) {
	cases := []struct {
		name string
		run  func(t *testing.T, open func(t *testing.T) Contestant)
	}{
		{"Create/OK", testCreate},
		{"Create/ErrRules", testRules},
		{"Create/ErrNameInUse", testNameInUse},
		{"Update/OK", testUpdate},
		{"Update/Rename", testRename},
		{"Update/ErrNotFound", testUpdateNotFound},
		{"List/OrderAndPages", testList},
		{"Import/OK", testImport},
		{"Import/AllOrNothing", testImportAllOrNothing},
		{"Concurrent/CreateOneName", testConcurrentCreate},
		{"Concurrent/RenameToOneName", testConcurrentRename},
		{"SameAsCatalog", testSameAsCatalog},
	}
	for _, kind := range All() {
		t.Run(kind.Name, func(t *testing.T) {
			open := func(t *testing.T) Contestant { return open(t, kind, t.TempDir()) }
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(t, open)
				})
			}
			if kind.Durable {
				t.Run("Durable/Reopen", func(t *testing.T) {
					t.Parallel()
					testReopen(t, kind)
				})
				t.Run("Durable/OnReturn", func(t *testing.T) {
					t.Parallel()
					testOnReturn(t, kind)
				})
			}
		})
	}
}

func open(t *testing.T, kind Kind, dir string) Contestant {
	t.Helper()
	c, err := kind.Open(dir)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

func create(t *testing.T, c Contestant, name string, st customstatus.StatusType) customstatus.CustomUserStatus {
	t.Helper()
	s, err := c.Create(customstatus.Fields{Name: name, StatusType: st})
	if err != nil {
		t.Fatalf("create %q: %v", name, err)
	}
	return s
}

// without removes the fields that only this library's catalog has.
func without(s customstatus.CustomUserStatus) customstatus.CustomUserStatus {
	s.Revision = 0
	return s
}

func wantStatus(t *testing.T, r Reader, want customstatus.CustomUserStatus) {
	t.Helper()
	for by, get := range map[string]func() (customstatus.CustomUserStatus, error){
		"id":   func() (customstatus.CustomUserStatus, error) { return r.GetByID(want.ID) },
		"name": func() (customstatus.CustomUserStatus, error) { return r.GetByName(want.Name) },
	} {
		got, err := get()
		if err != nil {
			t.Fatalf("get %q by %s: %v", want.Name, by, err)
		}
		if without(got) != without(want) {
			t.Fatalf("get by %s: got %+v, want %+v", by, got, want)
		}
	}
}

func wantNoName(t *testing.T, r Reader, name string) {
	t.Helper()
	if s, err := r.GetByName(name); !errors.Is(err, customstatus.ErrNotFound) {
		t.Fatalf("get by name %q: got %+v, %v, want ErrNotFound", name, s, err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// names lists all names, in pages of an odd size.
func names(t *testing.T, c Contestant) []string {
	t.Helper()
	var all []string
	for {
		page, total, err := c.List(len(all), 7)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		for _, s := range page {
			all = append(all, s.Name)
		}
		if len(page) < 7 {
			if total != len(all) {
				t.Fatalf("list: total is %d, there are %d", total, len(all))
			}
			return all
		}
	}
}

func wantNames(t *testing.T, c Contestant, want ...string) {
	t.Helper()
	if got := names(t, c); !slices.Equal(got, want) {
		t.Fatalf("list: got %q, want %q", got, want)
	}
}

func testCreate(t *testing.T, open func(*testing.T) Contestant) {
	c := open(t)
	before := time.Now().Add(-time.Millisecond)
	s := create(t, c, "vacay1", customstatus.Online)
	if s.ID == "" || s.Name != "vacay1" || s.StatusType != customstatus.Online {
		t.Fatalf("got %+v", s)
	}
	if s.UpdatedAt.Before(before) || s.UpdatedAt.After(time.Now()) || s.UpdatedAt.Nanosecond()%1e6 != 0 {
		t.Fatalf("updated at %v", s.UpdatedAt)
	}
	wantStatus(t, c, s)
	if _, err := c.GetByID("nobody"); !errors.Is(err, customstatus.ErrNotFound) {
		t.Fatalf("get an id that is not there: %v", err)
	}
	wantNoName(t, c, "vacay")
	wantNames(t, c, "vacay1")
}

func testRules(t *testing.T, open func(*testing.T) Contestant) {
	c := open(t)
	s := create(t, c, "there", customstatus.Away)
	for _, tt := range []struct {
		fields customstatus.Fields
		want   error
	}{
		{customstatus.Fields{Name: " ", StatusType: customstatus.Busy}, customstatus.ErrRequired},
		{customstatus.Fields{Name: "a"}, customstatus.ErrRequired},
		{customstatus.Fields{Name: "<b>", StatusType: customstatus.Busy}, customstatus.ErrInvalid},
		{customstatus.Fields{Name: "a", StatusType: "Offline"}, customstatus.ErrInvalid},
	} {
		_, err := c.Create(tt.fields)
		wantErr(t, err, tt.want)
		_, err = c.Update(s.ID, tt.fields)
		wantErr(t, err, tt.want)
		wantErr(t, c.Import([]customstatus.CustomUserStatus{
			{ID: "x1", Name: "fine", StatusType: customstatus.Busy, UpdatedAt: s.UpdatedAt},
			{ID: "x2", Name: tt.fields.Name, StatusType: tt.fields.StatusType, UpdatedAt: s.UpdatedAt},
		}), tt.want)
	}
	wantStatus(t, c, s)
	wantNames(t, c, "there")
}

func testNameInUse(t *testing.T, open func(*testing.T) Contestant) {
	c := open(t)
	s := create(t, c, "one", customstatus.Busy)
	_, err := c.Create(customstatus.Fields{Name: "one", StatusType: customstatus.Away})
	wantErr(t, err, customstatus.ErrNameInUse)
	wantStatus(t, c, s)
	create(t, c, "One", customstatus.Busy) // names are compared byte by byte
	wantNames(t, c, "One", "one")
}

func testUpdate(t *testing.T, open func(*testing.T) Contestant) {
	c := open(t)
	s := create(t, c, "one", customstatus.Busy)
	got, err := c.Update(s.ID, customstatus.Fields{Name: "one", StatusType: customstatus.Offline})
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != s.ID || got.Name != "one" || got.StatusType != customstatus.Offline || got.UpdatedAt.Before(s.UpdatedAt) {
		t.Fatalf("got %+v after %+v", got, s)
	}
	wantStatus(t, c, got)
	wantNames(t, c, "one")
}

func testRename(t *testing.T, open func(*testing.T) Contestant) {
	c := open(t)
	var all []customstatus.CustomUserStatus
	for i := range 9 {
		all = append(all, create(t, c, fmt.Sprintf("n%d", i*2), customstatus.Busy))
	}
	rename := func(i int, name string) error {
		s, err := c.Update(all[i].ID, customstatus.Fields{Name: name, StatusType: customstatus.Away})
		if err == nil {
			all[i] = s
		}
		return err
	}
	wantErr(t, rename(0, "n2"), customstatus.ErrNameInUse)
	wantStatus(t, c, all[0])
	wantStatus(t, c, all[1])
	for _, r := range []struct {
		i  int
		to string
	}{{0, "n9"}, {8, "n1"}, {4, "n8 "}, {1, "n0"}, {2, "n2"}, {0, "n4"}} { // up, down, in place, to names given up
		was := all[r.i].Name
		if err := rename(r.i, r.to); err != nil {
			t.Fatalf("%s to %s: %v", was, r.to, err)
		}
		wantNoName(t, c, was)
		want := make([]string, len(all))
		for i, s := range all {
			wantStatus(t, c, s)
			want[i] = s.Name
		}
		slices.Sort(want)
		wantNames(t, c, want...)
	}
}

func testUpdateNotFound(t *testing.T, open func(*testing.T) Contestant) {
	c := open(t)
	_, err := c.Update("nobody", customstatus.Fields{Name: "one", StatusType: customstatus.Busy})
	wantErr(t, err, customstatus.ErrNotFound)
	wantNames(t, c)
}

func testList(t *testing.T, open func(*testing.T) Contestant) {
	c := open(t)
	wantNames(t, c)
	want := []string{
		"a", "a b", "a,b", "a0", "aa", "ab", "b", "Z", "z", "é", "日本", "\u00a0x", "~", "1", "10", "9",
		strings.Repeat("日", customstatus.MaxNameCharacters),
	}
	for _, name := range want {
		create(t, c, name, customstatus.Busy)
	}
	slices.Sort(want) // byte by byte
	wantNames(t, c, want...)
	for _, tt := range []struct{ offset, limit, want int }{
		{0, 50, len(want)}, {0, 1, 1}, {5, 5, 5}, {len(want) - 1, 5, 1}, {len(want), 5, 0}, {len(want) + 100, 5, 0},
	} {
		page, total, err := c.List(tt.offset, tt.limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) != tt.want || total != len(want) {
			t.Fatalf("list %d at %d: got %d of %d, want %d of %d", tt.limit, tt.offset, len(page), total, tt.want, len(want))
		}
		for i, s := range page {
			if s.Name != want[tt.offset+i] {
				t.Fatalf("list %d at %d: number %d is %q, want %q", tt.limit, tt.offset, i, s.Name, want[tt.offset+i])
			}
			wantStatus(t, c, s)
		}
	}
}

func testImport(t *testing.T, open func(*testing.T) Contestant) {
	c := open(t)
	there := create(t, c, "there", customstatus.Busy)
	in := Statuses(500, 1)
	given := slices.Clone(in)
	if err := c.Import(in); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(in, given) {
		t.Fatal("import changed what it was given")
	}
	want := []string{there.Name}
	for _, s := range given {
		wantStatus(t, c, s)
		want = append(want, s.Name)
	}
	slices.Sort(want)
	wantNames(t, c, want...)
	in[0].Name = "changed later"
	wantStatus(t, c, given[0])
	_, err := c.Create(customstatus.Fields{Name: given[7].Name, StatusType: customstatus.Busy})
	wantErr(t, err, customstatus.ErrNameInUse)
}

func testImportAllOrNothing(t *testing.T, open func(*testing.T) Contestant) {
	c := open(t)
	there := create(t, c, "there", customstatus.Busy)
	in := Statuses(20, 1)
	for _, tt := range []struct {
		name  string
		spoil func(in []customstatus.CustomUserStatus)
		want  error
	}{
		{"name of another", func(in []customstatus.CustomUserStatus) { in[19].Name = there.Name }, customstatus.ErrNameInUse},
		{"name twice", func(in []customstatus.CustomUserStatus) { in[19].Name = in[0].Name }, customstatus.ErrNameInUse},
		{"id of another", func(in []customstatus.CustomUserStatus) { in[19].ID = there.ID }, customstatus.ErrIDInUse},
	} {
		spoiled := slices.Clone(in)
		tt.spoil(spoiled)
		if err := c.Import(spoiled); !errors.Is(err, tt.want) {
			t.Fatalf("%s: got error %v, want %v", tt.name, err, tt.want)
		}
		wantNames(t, c, there.Name)
		wantStatus(t, c, there)
		wantNoName(t, c, in[1].Name)
	}
	if err := c.Import(in); err != nil { // nothing of the failed ones is in its way
		t.Fatal(err)
	}
}

// race has n goroutines do the same at once and returns how many succeeded.
func race(t *testing.T, n int, do func(i int) error) int {
	t.Helper()
	var (
		wg    sync.WaitGroup
		start = make(chan struct{})
		errs  = make([]error, n)
	)
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = do(i)
		})
	}
	close(start)
	wg.Wait()
	ok := 0
	for _, err := range errs {
		switch {
		case err == nil:
			ok++
		case !errors.Is(err, customstatus.ErrNameInUse):
			t.Errorf("got error %v, want ErrNameInUse", err)
		}
	}
	return ok
}

func testConcurrentCreate(t *testing.T, open func(*testing.T) Contestant) {
	c := open(t)
	var want []string
	for round := range 10 {
		name := fmt.Sprintf("n%d", round)
		want = append(want, name)
		if ok := race(t, 16, func(int) error {
			_, err := c.Create(customstatus.Fields{Name: name, StatusType: customstatus.Busy})
			return err
		}); ok != 1 {
			t.Fatalf("%d creates of one name succeeded", ok)
		}
	}
	wantNames(t, c, want...)
}

func testConcurrentRename(t *testing.T, open func(*testing.T) Contestant) {
	c := open(t)
	ids := make([]string, 16)
	for i := range ids {
		ids[i] = create(t, c, fmt.Sprintf("n%d", i), customstatus.Busy).ID
	}
	for round := range 10 {
		name := fmt.Sprintf("m%d", round)
		if ok := race(t, len(ids), func(i int) error {
			_, err := c.Update(ids[i], customstatus.Fields{Name: name, StatusType: customstatus.Busy})
			return err
		}); ok != 1 {
			t.Fatalf("%d renames to one name succeeded", ok)
		}
		all := names(t, c)
		if len(all) != len(ids) || len(slices.Compact(all)) != len(ids) {
			t.Fatalf("names are %q", all)
		}
	}
}

// testSameAsCatalog does the same random operations on the contestant and on this
// library's catalog in memory, and expects the same outcomes.
func testSameAsCatalog(t *testing.T, open func(*testing.T) Contestant) {
	c := open(t)
	ref, err := openCustomStatusMemory("")
	if err != nil {
		t.Fatal(err)
	}
	defer ref.Close()
	rng := rand.New(rand.NewPCG(3, 1))
	var ids [][2]string // of the same status here and there
	kind := func(err error) error {
		for _, e := range []error{
			customstatus.ErrRequired, customstatus.ErrInvalid, customstatus.ErrNameInUse,
			customstatus.ErrNotFound, customstatus.ErrIDInUse,
		} {
			if errors.Is(err, e) {
				return e
			}
		}
		return err
	}
	fields := func() customstatus.Fields {
		types := []customstatus.StatusType{customstatus.Online, customstatus.Away, customstatus.Busy, customstatus.Offline, "", "x"}
		if rng.IntN(10) > 0 {
			types = types[:4]
		}
		return customstatus.Fields{Name: strings.Repeat("n", rng.IntN(2)) + fmt.Sprint(rng.IntN(40)), StatusType: types[rng.IntN(len(types))]}
	}
	for step := range 300 {
		var (
			what      string
			got, want error
		)
		switch rng.IntN(6) {
		case 0, 1:
			f := fields()
			what = fmt.Sprintf("create %+v", f)
			var a, b customstatus.CustomUserStatus
			a, got = c.Create(f)
			b, want = ref.Create(f)
			if got == nil {
				ids = append(ids, [2]string{a.ID, b.ID})
			}
		case 2, 3:
			id := [2]string{"nobody", "nobody"}
			if len(ids) > 0 && rng.IntN(10) > 0 {
				id = ids[rng.IntN(len(ids))]
			}
			f := fields()
			what = fmt.Sprintf("update %s to %+v", id[0], f)
			_, got = c.Update(id[0], f)
			_, want = ref.Update(id[1], f)
		case 4:
			in := Statuses(rng.IntN(4), uint64(step))
			if len(in) > 1 && rng.IntN(2) == 0 {
				in[0].Name = fields().Name
			}
			what = fmt.Sprintf("import %+v", in)
			got, want = c.Import(in), ref.Import(in)
			if got == nil {
				for _, s := range in {
					ids = append(ids, [2]string{s.ID, s.ID})
				}
			}
		case 5:
			f := fields()
			what = fmt.Sprintf("get %q", f.Name)
			_, got = c.GetByName(f.Name)
			_, want = ref.GetByName(f.Name)
		}
		if kind(got) != kind(want) {
			t.Fatalf("step %d: %s: got error %v, the catalog says %v", step, what, got, want)
		}
	}
	a, total, err := c.List(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	b, wantTotal, err := ref.List(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if total != wantTotal || len(a) != len(b) || total != len(ids) {
		t.Fatalf("got %d of %d, the catalog has %d of %d", len(a), total, len(b), wantTotal)
	}
	for i := range a {
		if a[i].Name != b[i].Name || a[i].StatusType != b[i].StatusType {
			t.Fatalf("number %d is %+v, the catalog's is %+v", i, a[i], b[i])
		}
	}
	for _, id := range ids {
		x, err := c.GetByID(id[0])
		if err != nil {
			t.Fatal(err)
		}
		y, err := ref.GetByID(id[1])
		if err != nil {
			t.Fatal(err)
		}
		if x.Name != y.Name || x.StatusType != y.StatusType {
			t.Fatalf("got %+v, the catalog has %+v", x, y)
		}
	}
}

// fill makes every kind of write.
func fill(t *testing.T, c Contestant) (want []customstatus.CustomUserStatus) {
	t.Helper()
	want = Statuses(30, 5)
	if err := c.Import(want); err != nil {
		t.Fatal(err)
	}
	for i, s := range want[:10] {
		f := customstatus.Fields{Name: fmt.Sprintf("renamed %d", i), StatusType: customstatus.Busy}
		s, err := c.Update(s.ID, f)
		if err != nil {
			t.Fatal(err)
		}
		want[i] = s
	}
	for i := range 10 {
		want = append(want, create(t, c, fmt.Sprintf("made %d", i), customstatus.Away))
	}
	return want
}

func wantAll(t *testing.T, c Contestant, want []customstatus.CustomUserStatus) {
	t.Helper()
	var wantList []string
	for _, s := range want {
		wantStatus(t, c, s)
		wantList = append(wantList, s.Name)
	}
	slices.Sort(wantList)
	wantNames(t, c, wantList...)
}

func testReopen(t *testing.T, kind Kind) {
	dir := t.TempDir()
	c, err := kind.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := fill(t, c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c, err := kind.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		wantAll(t, c, want)
		want = append(want, create(t, c, fmt.Sprintf("later %d", len(want)), customstatus.Offline))
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// testOnReturn copies the files of an open contestant. When a write has returned, none of
// it may be in the process's memory only.
func testOnReturn(t *testing.T, kind Kind) {
	dir, copied := t.TempDir(), t.TempDir()
	c := open(t, kind, dir)
	want := fill(t, c)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(copied, f.Name()), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantAll(t, open(t, kind, copied), want)
}

// TestSyncsEachCommit checks the engines' own settings.
func TestSyncsEachCommit(t *testing.T) {
	for _, kind := range All() {
		t.Run(kind.Name, func(t *testing.T) {
			switch c := open(t, kind, t.TempDir()).(type) {
			case *handBolt:
				if c.db.NoSync {
					t.Error("bbolt does not sync")
				}
			case *heldBolt:
				if c.store.Bolt().NoSync {
					t.Error("bbolt does not sync")
				}
			case *sqlDB:
				for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal"} {
					var got string
					if err := c.writes.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil {
						t.Fatal(err)
					}
					if got != want {
						t.Errorf("%s is %s, want %s", pragma, got, want)
					}
				}
			case *buntDB:
				var config buntdb.Config
				if err := c.db.ReadConfig(&config); err != nil {
					t.Fatal(err)
				}
				if config.SyncPolicy != buntdb.Always {
					t.Errorf("sync policy is %v", config.SyncPolicy)
				}
			default:
				if kind.Durable && Catalog(c) == nil {
					t.Errorf("nobody looks whether %T syncs", c)
				}
			}
		})
	}
}

func TestFloors(t *testing.T) {
	all := Statuses(100, 1)
	m := NewMapFloor(all)
	for _, s := range all {
		wantStatus(t, m, s)
	}
	wantNoName(t, m, "nobody")
	if _, err := m.GetByID("nobody"); !errors.Is(err, customstatus.ErrNotFound) {
		t.Fatalf("get an id that is not there: %v", err)
	}

	f, err := OpenSync(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * syncBlocks {
		if err := f.write(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Write(); err != nil {
		t.Fatal(err)
	}
	if info, err := f.file.Stat(); err != nil || info.Size() != syncBlock*syncBlocks {
		t.Fatalf("the file has %d bytes (%v), want %d", info.Size(), err, syncBlock*syncBlocks)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestStatuses(t *testing.T) {
	a, b := Statuses(1000, 1), Statuses(1000, 2)
	if !slices.Equal(a, Statuses(1000, 1)) {
		t.Error("one seed makes different statuses")
	}
	seen := map[string]bool{}
	for _, s := range append(a, b...) {
		if len(s.Name) != NameLength || len(s.ID) != 36 || seen[s.Name] || seen[s.ID] || !s.StatusType.Valid() {
			t.Fatalf("bad status %+v", s)
		}
		seen[s.Name], seen[s.ID] = true, true
	}
	for _, name := range Names(1000, 3) {
		if seen[name] {
			t.Fatalf("%s is taken", name)
		}
	}
}
