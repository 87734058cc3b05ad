package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/customstatus/customstatus/internal/damage"
	"github.com/customstatus/customstatus/internal/sentinel"
)

func TestStoreIsLocked(t *testing.T) {
	path := tempPath(t)
	s := openStore(t, path)
	for _, opts := range []*Options{
		nil,
		{LockTimeout: time.Millisecond},
		{Bolt: &bbolt.Options{Timeout: time.Millisecond}},
		{Bolt: &bbolt.Options{Timeout: time.Millisecond, ReadOnly: true}},
	} {
		_, err := Open(path, opts)
		require.ErrorIs(t, err, sentinel.ErrLocked)
		require.ErrorContains(t, err, path)
	}
	commit(t, s, put("a", "x", 0))

	// A waiting Open gets the file when it is closed.
	opened := make(chan error)
	go func() {
		next, err := Open(path, &Options{LockTimeout: time.Hour})
		if err == nil {
			_, err = next.Commit(context.Background(), list{put("b", "y", 0)})
			err = errors.Join(err, next.Close())
		}
		opened <- err
	}()
	require.NoError(t, s.Close())
	require.NoError(t, <-opened)
	require.Len(t, load(t, openStore(t, path)).statuses, 2)
}

func TestOpenMakesOneFile(t *testing.T) {
	path := tempPath(t)
	var made sync.WaitGroup
	for i := range 20 {
		made.Go(func() {
			s, err := Open(path, &Options{LockTimeout: time.Hour})
			if err == nil {
				_, err = s.Commit(context.Background(), list{put(fmt.Sprint(i), fmt.Sprint(i), 0)})
				err = errors.Join(err, s.Close())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	made.Wait()
	require.Len(t, load(t, openStore(t, path)).statuses, 20)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestOpenFails(t *testing.T) {
	directory := t.TempDir()
	t.Run("in a missing directory", func(t *testing.T) {
		path := filepath.Join(directory, "none", "statuses.db")
		_, err := Open(path, nil)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, err, path)
	})
	t.Run("on a directory", func(t *testing.T) {
		_, err := Open(directory, nil)
		require.ErrorContains(t, err, "not a regular file")
	})
	t.Run("to read what is not there", func(t *testing.T) {
		path := filepath.Join(directory, "statuses.db")
		_, err := Open(path, &Options{Bolt: &bbolt.Options{ReadOnly: true}})
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NoFileExists(t, path)
	})
	t.Run("on a link to nothing", func(t *testing.T) {
		if runtime.GOOS == "windows" {
			t.Skip("needs a right that users do not have")
		}
		path, target := filepath.Join(directory, "link"), filepath.Join(directory, "target")
		require.NoError(t, os.Symlink(target, path))
		_, err := Open(path, nil)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NoFileExists(t, target)
	})
	t.Run("when its own file can't be opened", func(t *testing.T) {
		errOpen := errors.New("no")
		_, err := Open(filepath.Join(directory, "new.db"), &Options{Bolt: &bbolt.Options{
			OpenFile: func(string, int, os.FileMode) (*os.File, error) { return nil, errOpen },
		}})
		require.ErrorIs(t, err, errOpen)
	})
	entries, err := os.ReadDir(directory)
	require.NoError(t, err)
	require.LessOrEqual(t, len(entries), 1, "it left something behind")
}

func TestOpenPassesOptionsOnAndKeepsThemAsTheyAre(t *testing.T) {
	path := tempPath(t)
	var opened []string
	bolt := bbolt.Options{
		PageSize:     2048,
		FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			opened = append(opened, filepath.Base(name))
			if name == path {
				require.Zero(t, flag&os.O_CREATE)
			}
			return os.OpenFile(name, flag, mode)
		},
	}
	before := fmt.Sprintf("%+v", bolt)
	opts := &Options{Bolt: &bolt}
	s, err := Open(path, opts)
	require.NoError(t, err)
	require.Equal(t, before, fmt.Sprintf("%+v", bolt))
	require.Len(t, opened, 2)
	require.True(t, strings.HasPrefix(opened[0], "statuses.db.new-"))
	require.Equal(t, "statuses.db", opened[1])
	newHistory(1).run(t, 10, 10, s)
	require.NoError(t, s.Close())
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, []byte{0, 8}, file[24:26], "the page size")
}

func TestStoreForReading(t *testing.T) {
	path := tempPath(t)
	s := openStore(t, path)
	want := newHistory(1).run(t, 20, 10, s)
	require.NoError(t, s.Close())
	reading := &Options{Bolt: &bbolt.Options{ReadOnly: true}}
	for range 2 { // several at once
		r, err := Open(path, reading)
		require.NoError(t, err)
		require.True(t, want.equal(load(t, r)))
		require.ErrorIs(t, refused(t, r, put("new", "new", 0)), bolterrors.ErrDatabaseReadOnly)
		revision, err := r.Revision(context.Background())
		require.NoError(t, err)
		require.Equal(t, want.revision, revision)
		require.NoError(t, r.Backup(context.Background(), &bytes.Buffer{}))
		defer func() { require.NoError(t, r.Close()) }()
	}
}

func TestStoreStaysRightWhenTheProcessMoves(t *testing.T) {
	directory := t.TempDir()
	t.Chdir(directory)
	s := openStore(t, "statuses.db")
	t.Chdir(t.TempDir())
	commit(t, s, put("a", "x", 0))
	require.NoError(t, s.Close())
	require.Len(t, load(t, openStore(t, filepath.Join(directory, "statuses.db"))).statuses, 1)
}

func TestStoreRefusesToWriteToALostFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file stays in its place")
	}
	for _, c := range []struct {
		what string
		lose func(path, other string) error
	}{
		{"moved", func(path, other string) error { return os.Rename(path, other) }},
		{"replaced", func(path, other string) error {
			return errors.Join(os.Rename(path, other), os.WriteFile(path, []byte("something else"), 0o600))
		}},
		{"deleted", func(path, other string) error { return errors.Join(os.Link(path, other), os.Remove(path)) }},
		{"behind a directory that was replaced", func(path, other string) error {
			return errors.Join(os.Rename(path, other), os.Rename(filepath.Dir(path), filepath.Dir(path)+"2"), os.Mkdir(filepath.Dir(path), 0o700))
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			top := t.TempDir()
			path, other := filepath.Join(top, "a", "statuses.db"), filepath.Join(top, "other.db")
			require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
			s := openStore(t, path)
			commit(t, s, put("a", "x", 0))
			before := load(t, s)

			require.NoError(t, c.lose(path, other))
			err := refused(t, s, put("b", "y", 0))
			require.ErrorContains(t, err, "would be lost")
			require.ErrorContains(t, err, path)
			require.NotErrorIs(t, err, sentinel.ErrNeedsReopen)
			require.Equal(t, before, load(t, s))

			require.NoError(t, os.Rename(other, path)) // back again
			commit(t, s, put("b", "y", 0))
			want := load(t, s)
			require.NoError(t, s.Close())
			require.Equal(t, want, load(t, openStore(t, path)))
		})
	}
}

func TestStoreRefusesAFileThatSomeoneElseWrote(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file can't be written to")
	}
	path := tempPath(t)
	s := openStore(t, path)
	commit(t, s, put("a", "x", 0))
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	commit(t, s, put("b", "y", 0))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(old, 0) // as cp does
	require.NoError(t, errors.Join(err, f.Close()))

	err = refused(t, s, put("c", "z", 0))
	require.ErrorIs(t, err, sentinel.ErrDamaged)
	require.ErrorContains(t, err, "changed by someone else")
	require.ErrorIs(t, refused(t, s, put("c", "z", 0)), sentinel.ErrNeedsReopen)
	_, err = loadAll(s)
	require.ErrorIs(t, err, sentinel.ErrNeedsReopen)
	require.ErrorIs(t, s.Backup(context.Background(), &bytes.Buffer{}), sentinel.ErrNeedsReopen)
	require.NoError(t, s.Close())
	require.Len(t, load(t, openStore(t, path)).statuses, 1)
}

func TestStoreGoesOnWhenThereIsRoomAgain(t *testing.T) {
	// bbolt's own limit on the file size stands for a full disk. It can be
	// reached at any point of a commit.
	path := tempPath(t)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{MaxSize: 1 << 16})
	require.NoError(t, err)
	db.AllocSize = 1 << 12
	s, err := New(db, nil)
	require.NoError(t, err)
	memory := newModel()
	h := newHistory(3)
	full := 0
	for range 150 {
		changes := h.changes(load(t, memory), 20)
		_, err := s.Commit(context.Background(), changes)
		if errors.Is(err, bolterrors.ErrMaxSizeReached) {
			full++
			require.ErrorContains(t, err, "nothing was written")
			require.NotErrorIs(t, err, sentinel.ErrNeedsReopen)
			require.True(t, load(t, memory).equal(load(t, s)))
			db.MaxSize += 1 << 13 // too little for some, too
			continue
		}
		_, want := memory.Commit(context.Background(), changes)
		require.Equal(t, want == nil, err == nil, "%v, %v", want, err)
	}
	require.Greater(t, full, 10)
	want := load(t, memory)
	require.True(t, want.equal(load(t, s)))
	require.NoError(t, errors.Join(s.Close(), db.Close()))
	require.True(t, want.equal(load(t, openStore(t, path))))
}

// blocked is a writer that blocks at the first byte.
type blocked struct {
	got        bytes.Buffer
	begun, end chan struct{}
	once       sync.Once
}

func (b *blocked) Write(p []byte) (int, error) {
	b.once.Do(func() {
		close(b.begun)
		<-b.end
	})
	return b.got.Write(p)
}

func TestBackupHoldsUpNobody(t *testing.T) {
	s := openStore(t, tempPath(t))
	h := newHistory(1)
	want := h.run(t, 10, 10, s)
	slow := &blocked{begun: make(chan struct{}), end: make(chan struct{})}
	done := make(chan error)
	go func() { done <- s.Backup(context.Background(), slow) }()
	<-slow.begun
	h.run(t, 10, 200, s) // it grows, too
	require.NoError(t, s.Close())
	close(slow.end)
	require.NoError(t, <-done)
	path := tempPath(t)
	damage.Overwrite(t, path, slow.got.Bytes())
	require.True(t, want.equal(load(t, openStore(t, path))))
}

func TestBackupUnderLoad(t *testing.T) {
	path := tempPath(t)
	s := openStore(t, path)
	h := newHistory(4)
	states := map[uint64]contents{0: load(t, s)}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				now := h.run(t, 1, 30, s)
				states[now.revision] = now
			}
		}
	}()
	copies := make([]bytes.Buffer, 25)
	for i := range copies {
		require.NoError(t, s.Backup(context.Background(), &copies[i]))
	}
	close(stop)
	<-stopped
	for i := range copies {
		path := tempPath(t)
		damage.Overwrite(t, path, copies[i].Bytes())
		got, err := reopen(path)
		require.NoError(t, err)
		require.True(t, states[got.revision].equal(got))
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "backups left something behind")
}

// full is a writer on a full disk.
type full struct{}

var errFull = errors.New("no room")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestBackupFails(t *testing.T) {
	s := openStore(t, tempPath(t))
	require.ErrorIs(t, s.Backup(context.Background(), full{}), errFull)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Backup(context.Background(), &bytes.Buffer{}), sentinel.ErrClosed)
}

func TestBackupFindsDamage(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file can't be written to")
	}
	path := tempPath(t)
	s := openStore(t, path)
	newHistory(12).run(t, 10, 60, s)
	require.NoError(t, s.Close())
	s = openStore(t, path)
	at := rootOf(t, s, s.recordBucket) * 4096
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(make([]byte, 16), int64(at))
	require.NoError(t, errors.Join(err, f.Close()))
	var backup bytes.Buffer
	require.ErrorIs(t, s.Backup(context.Background(), &backup), sentinel.ErrDamaged)
	require.Zero(t, backup.Len())
	// bbolt panics over such a page.
	_, err = loadAll(s)
	require.ErrorIs(t, err, sentinel.ErrDamaged)
	require.ErrorContains(t, err, "panicked")
	err = refused(t, s, put("new", "new name", 0))
	require.ErrorIs(t, err, sentinel.ErrDamaged)
	require.ErrorIs(t, refused(t, s, put("new", "new name", 0)), sentinel.ErrNeedsReopen)
	require.NoError(t, s.Close())
}

func TestNewStoreLeavesTheHostsDataAlone(t *testing.T) {
	path := tempPath(t)
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("users"))
		return errors.Join(err, b.Put([]byte("alice"), []byte("admin")))
	}))
	s := newHostedStore(t, db, "")
	other := newHostedStore(t, db, "other")
	first := newHistory(1).run(t, 10, 10, s)
	others := newHistory(2).run(t, 10, 10, other)
	commit(t, other, put("from the other", "from the other", 0))
	commit(t, s, put("from this", "from this", 0))
	require.Len(t, load(t, other).statuses, len(others.statuses)+1)
	want := load(t, s)
	require.Len(t, want.statuses, len(first.statuses)+1)
	others = load(t, other)
	var backup bytes.Buffer
	require.NoError(t, s.Backup(context.Background(), &backup))
	require.NoError(t, s.Close())
	_, err = loadAll(s)
	require.ErrorIs(t, err, sentinel.ErrClosed)
	require.True(t, others.equal(load(t, other)))

	user := func(db *bbolt.DB) string {
		var role string
		require.NoError(t, db.View(func(tx *bbolt.Tx) error {
			role = string(tx.Bucket([]byte("users")).Get([]byte("alice")))
			return nil
		}))
		return role
	}
	require.Equal(t, "admin", user(db))
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("users")).Put([]byte("bob"), nil) }))
	require.NoError(t, db.Close())
	require.ErrorIs(t, refused(t, other, put("late", "late", 0)), bolterrors.ErrDatabaseNotOpen)
	_, err = loadAll(other)
	require.ErrorIs(t, err, bolterrors.ErrDatabaseNotOpen)

	// Open can open the host's file and the backup, too.
	require.True(t, want.equal(load(t, openStore(t, path))))
	copied := tempPath(t)
	damage.Overwrite(t, copied, backup.Bytes())
	require.True(t, want.equal(load(t, openStore(t, copied))))
}

func TestNewStoreFails(t *testing.T) {
	_, err := New(nil, nil)
	require.Error(t, err)

	path := tempPath(t)
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	_, err = New(db, nil)
	require.ErrorIs(t, err, bolterrors.ErrDatabaseNotOpen)

	db, err = bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	require.NoError(t, err)
	_, err = New(db, nil)
	require.ErrorIs(t, err, bolterrors.ErrDatabaseReadOnly)
	require.ErrorContains(t, err, path)
	require.NoError(t, db.Close())

	db, err = bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("customstatus.records")); return err }))
	_, err = New(db, nil)
	require.ErrorIs(t, err, sentinel.ErrDamaged)
	require.ErrorContains(t, err, "customstatus.meta")
	require.NoError(t, db.Close())
}

// TestStoreFindsWhatDoesNotFitTogether has damage that bbolt can't notice:
// every page and every record is sound.
func TestStoreFindsWhatDoesNotFitTogether(t *testing.T) {
	bucket := func(tx *bbolt.Tx, name string) *bbolt.Bucket { return tx.Bucket([]byte("customstatus." + name)) }
	move := func(tx *bbolt.Tx, name, from, to string) error {
		b := bucket(tx, name)
		value := bytes.Clone(b.Get([]byte(from)))
		return errors.Join(b.Delete([]byte(from)), b.Put([]byte(to), value))
	}
	for _, c := range []struct {
		what   string
		damage func(tx *bbolt.Tx) error
		says   string
		touch  list // a commit that comes across it
	}{
		{"a record less", func(tx *bbolt.Tx) error { return bucket(tx, "records").Delete([]byte("a")) }, "there are 2 of 3", list{put("a", "x", 0)}},
		{"a record under another id", func(tx *bbolt.Tx) error { return move(tx, "records", "a", "z") }, `the record is that of "a"`, list{gone("z", 1)}},
		{"a record that is none", func(tx *bbolt.Tx) error { return bucket(tx, "records").Put([]byte("b"), []byte("text")) }, `key "b": not a record`, list{gone("b", 1)}},
		{"a record of another format", func(tx *bbolt.Tx) error {
			v := bytes.Clone(bucket(tx, "records").Get([]byte("b")))
			v[1]++
			return bucket(tx, "records").Put([]byte("b"), v)
		}, "unknown format 3", list{put("b", "new", 1)}},
		{"a bucket for a record", func(tx *bbolt.Tx) error { _, err := bucket(tx, "records").CreateBucket([]byte("c2")); return err }, "not a record", nil},
		{"a name twice", func(tx *bbolt.Tx) error {
			v := bytes.Replace(bucket(tx, "records").Get([]byte("b")), []byte("bybusy"), []byte("bxbusy"), 1)
			return bucket(tx, "records").Put([]byte("b"), sealed(v))
		}, `key "b": another status has the same name "x"`, list{put("a", "new", 1)}},
		{"no records", func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("customstatus.records")) }, `no bucket "customstatus.records"`, list{put("d", "d", 0)}},
		{"no state", func(tx *bbolt.Tx) error { return bucket(tx, "meta").Delete([]byte("state")) }, `bucket "customstatus.meta"`, list{put("d", "d", 0)}},
		{"an old record", nil, "", nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := tempPath(t)
			s := openStore(t, path)
			commit(t, s, put("a", "x", 0), put("b", "y", 0), put("c", "z", 0))
			require.NoError(t, s.Close())
			db, err := bbolt.Open(path, 0o600, nil)
			require.NoError(t, err)
			if c.says == "" { // a record as it was before the last commit
				s, err := New(db, nil)
				require.NoError(t, err)
				var old []byte
				require.NoError(t, db.View(func(tx *bbolt.Tx) error { old = bytes.Clone(bucket(tx, "records").Get([]byte("a"))); return nil }))
				commit(t, s, put("a", "x", 1))
				c.damage = func(tx *bbolt.Tx) error { return bucket(tx, "records").Put([]byte("a"), old) }
				c.says = "not those of the last commit: there are 3 of 3"
			}
			require.NoError(t, db.Update(c.damage))
			require.NoError(t, db.Close())

			_, err = reopen(path)
			require.ErrorIs(t, err, sentinel.ErrDamaged)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, path)
			if c.touch == nil {
				return
			}
			s, err = Open(path, nil)
			if err == nil {
				_, err = s.Commit(context.Background(), c.touch)
				if err == nil { // it was not in the way, but does not go away either
					_, err = loadAll(s)
				}
				require.NoError(t, s.Close())
			}
			require.ErrorIs(t, err, sentinel.ErrDamaged)
		})
	}
}
