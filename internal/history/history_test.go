package history

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/sentinel"
)

// at is the position after the n-th entry of the tests.
func at(n int) Position { return Position{uint64(n), 1000 + uint64(n)} }

func entry(n int) Entry[string] {
	return Entry[string]{Value: fmt.Sprint(n), After: at(n), Changes: 1, Bytes: 10}
}

func filled(maxChanges, maxBytes, entries int) *Log[string] {
	l := New[string](maxChanges, maxBytes)
	l.Reset(at(0))
	for n := 1; n <= entries; n++ {
		l.Append(entry(n))
	}
	return l
}

// since calls Since for readers that see no more than the log has.
func since(l *Log[string], after Position) ([]string, bool, error) {
	batch, more, err := l.Since(&after, func() uint64 { return l.now.Load().reached }, nil)
	var values []string
	for _, e := range batch {
		values = append(values, e.Value)
	}
	return values, more != nil, err
}

func TestSince(t *testing.T) {
	l := filled(100, 1e6, 5)
	for n := range 5 {
		values, _, err := since(l, at(n))
		require.NoError(t, err)
		require.Len(t, values, 5-n)
		require.Equal(t, fmt.Sprint(n+1), values[0])
	}
	values, waits, err := since(l, at(5))
	require.NoError(t, err)
	require.Empty(t, values)
	require.True(t, waits)

	for _, p := range []Position{{3, 1}, {6, 1}, {99, 1004}, {0, 0}} {
		_, _, err := since(l, p)
		require.ErrorIs(t, err, sentinel.ErrCompacted, "%v", p)
	}
	for _, revision := range []uint64{0, 2, 7} {
		_, waits, err := since(l, Position{revision, at(5).Fingerprint})
		require.NoError(t, err)
		require.True(t, waits, "it holds what the last one does")
	}

	// Revisions may be left out.
	l.Append(Entry[string]{Value: "10", After: Position{10, 1010}, Changes: 1})
	values, _, err = since(l, Position{7, at(5).Fingerprint})
	require.NoError(t, err)
	require.Equal(t, []string{"10"}, values)
}

func TestSinceFindsItAgain(t *testing.T) {
	l := filled(100, 1e6, 5)
	p := Position{77, at(5).Fingerprint}
	_, more, err := l.Since(&p, func() uint64 { return 5 }, nil)
	require.NoError(t, err)
	require.Equal(t, at(5), p)
	l.Append(entry(6))
	<-more
	values, _, err := l.Since(&p, func() uint64 { return 6 }, nil)
	require.NoError(t, err)
	require.Equal(t, []Entry[string]{entry(6)}, values)
}

func TestSinceOfWhatIsOnItsWay(t *testing.T) {
	l := filled(100, 1e6, 5)
	p := at(6)
	values, more, err := l.Since(&p, func() uint64 { return 6 }, nil)
	require.NoError(t, err)
	require.Empty(t, values)
	l.Append(entry(6))
	<-more
	_, _, err = l.Since(&p, func() uint64 { return 6 }, nil)
	require.NoError(t, err)
}

// A page can show an entry that changes nothing and that the log does not have
// yet. A reader who saw that page does not get the entry again.
func TestSinceDoesNotTellAgain(t *testing.T) {
	l := New[string](100, 1e6)
	l.Reset(Position{1, 7})
	listed := Position{2, 7}
	shown := func() uint64 { return 2 }
	values, more, err := l.Since(&listed, shown, nil)
	require.NoError(t, err)
	require.Empty(t, values)
	l.Append(Entry[string]{Value: "2", After: Position{2, 7}, Changes: 1})
	<-more
	values, _, err = l.Since(&listed, shown, nil)
	require.NoError(t, err)
	require.Empty(t, values)
}

func TestLimits(t *testing.T) {
	for _, l := range []*Log[string]{filled(3, 1e6, 10), filled(100, 39, 10)} {
		changes, bytes := l.Kept()
		require.Equal(t, 3, changes)
		require.Equal(t, 30, bytes)
		_, _, err := since(l, at(6))
		require.ErrorIs(t, err, sentinel.ErrCompacted)
		values, _, err := since(l, at(7))
		require.NoError(t, err)
		require.Equal(t, []string{"8", "9", "10"}, values)
	}
	l := filled(3, 1e6, 2)
	large := entry(3)
	large.Changes = 50
	l.Append(large)
	values, _, err := since(l, at(2))
	require.NoError(t, err, "the last entry is kept, however large")
	require.Equal(t, []string{"3"}, values)
	l.Append(entry(4))
	_, _, err = since(l, at(2))
	require.ErrorIs(t, err, sentinel.ErrCompacted)
}

// What is dropped leaves the memory, too, except for the last eighth.
func TestDroppedIsFreed(t *testing.T) {
	l := New[*[64]byte](800, 1e9)
	var values []weak.Pointer[[64]byte]
	for n := range 10_000 {
		value := new([64]byte)
		values = append(values, weak.Make(value))
		l.Append(Entry[*[64]byte]{Value: value, After: at(n), Changes: 1})
	}
	runtime.GC()
	inMemory := 0
	for _, value := range values {
		if value.Value() != nil {
			inMemory++
		}
	}
	require.GreaterOrEqual(t, inMemory, 800)
	require.LessOrEqual(t, inMemory, 900)
	runtime.KeepAlive(l)
}

// Readers that lock nothing see each entry once, in order, while entries come and go.
func TestReadersBesideAppend(t *testing.T) {
	const entries = 5_000
	l := filled(1e6, 1e9, 0)
	var reading sync.WaitGroup
	for range 8 {
		reading.Go(func() {
			n := 0
			for value, err := range l.Follow(t.Context(), at(0), func() uint64 { return entries }, nil) {
				if n++; !assert.NoError(t, err) || !assert.Equal(t, fmt.Sprint(n), value) || n == entries {
					return
				}
			}
		})
	}
	for n := 1; n <= entries; n++ {
		l.Append(entry(n))
	}
	reading.Wait()
}

func TestBatches(t *testing.T) {
	values, _, err := since(filled(1e6, 1e9, 200), at(0))
	require.NoError(t, err)
	require.Len(t, values, batchEntries)
	l := New[string](1e6, 1e9)
	l.Reset(at(0))
	for n := 1; n <= 10; n++ {
		e := entry(n)
		e.Bytes = batchBytes/2 + 1
		l.Append(e)
	}
	values, _, err = since(l, at(0))
	require.NoError(t, err)
	require.Len(t, values, 2)
}

func TestReachAndReset(t *testing.T) {
	l := filled(100, 1e6, 2)
	more := l.Wait()
	l.Reach(9)
	<-more
	values, waits, err := since(l, Position{9, at(2).Fingerprint})
	require.NoError(t, err)
	require.Empty(t, values)
	require.True(t, waits)

	more = l.Wait()
	l.Reset(Position{1, 42})
	<-more
	_, _, err = since(l, at(2))
	require.ErrorIs(t, err, sentinel.ErrCompacted)
	_, waits, err = since(l, Position{1, 42})
	require.NoError(t, err)
	require.True(t, waits)
	changes, bytes := l.Kept()
	require.Zero(t, changes+bytes)
}

func TestClose(t *testing.T) {
	l := filled(100, 1e6, 2)
	more := l.Wait()
	l.Close()
	<-more
	<-l.Wait()
	_, _, err := since(l, at(0))
	require.ErrorIs(t, err, sentinel.ErrClosed)
	l.Close()
	l.Reach(3)
}

func TestHold(t *testing.T) {
	l := filled(100, 1e6, 1)
	release := l.Hold()
	done := make(chan struct{})
	go func() {
		l.Append(entry(2))
		close(done)
	}()
	select {
	case <-done:
		t.Fatal("Append did not wait")
	default:
	}
	release()
	<-done
}
