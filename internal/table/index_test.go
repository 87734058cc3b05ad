package table

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"
)

type value struct{ ID, Name string }

var valueKeys = Keys[value]{
	ID:   func(v *value) string { return v.ID },
	Name: func(v *value) string { return v.Name },
}

// checkIndex requires that an index has exactly the wanted values.
func checkIndex(t *testing.T, x *index[value], want map[string]*value) {
	t.Helper()
	require.Equal(t, len(want), x.len)
	for name, s := range want {
		require.Same(t, s, x.get(name))
	}
	n := 0
	for _, book := range x.books {
		for _, page := range book.pages {
			for i := 0; page != nil && i < fanOut; i++ {
				for j := 0; page.chunks[i] != nil && j < chunkLen; j++ {
					n += len(page.chunks[i].buckets[j].values)
				}
			}
		}
	}
	require.Equal(t, len(want), n)
	require.Nil(t, x.get("not there"))
	require.Nil(t, x.get(""))
}

func TestIndex(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	now, _ := newIndex(valueKeys.Name, nil, 0)
	want := map[string]*value{}
	type version struct {
		index index[value]
		want  map[string]*value
	}
	var kept []version
	keep := func() {
		copied := make(map[string]*value, len(want))
		maps.Copy(copied, want)
		kept = append(kept, version{now, copied})
	}

	// It grows to thousands and shrinks to nothing, in edits of several changes.
	for edit := uint64(1); edit <= 1200; edit++ {
		if edit%100 == 0 {
			keep()
		}
		next := now
		for range 50 {
			name := fmt.Sprint(rng.IntN(20000))
			if edit > 600 {
				break
			}
			if s := want[name]; s != nil && rng.IntN(4) == 0 {
				next.remove(edit, name)
				delete(want, name)
				continue
			}
			s := &value{Name: name}
			next.put(edit, s)
			want[name] = s
		}
		if edit > 600 {
			n := 0
			for name := range want {
				if n++; n > 60 {
					break
				}
				next.remove(edit, name)
				delete(want, name)
			}
		}
		now = next
	}
	require.Empty(t, want)
	checkIndex(t, &now, want)
	require.LessOrEqual(t, now.buckets, 2, "an empty index releases its memory")
	require.Len(t, now.books, 1)
	require.Nil(t, now.books[0].pages[1])
	require.Nil(t, now.books[0].pages[0].chunks[1])
	for _, v := range kept {
		checkIndex(t, &v.index, v.want)
	}
}

// TestIndexFullBuckets covers buckets with more than the eight values that have
// tags.
func TestIndexFullBuckets(t *testing.T) {
	x, _ := newIndex(valueKeys.ID, nil, 0)
	want := map[string]*value{}
	for i := range 40 {
		s := &value{ID: fmt.Sprint(i)}
		want[s.ID] = s
		b := x.own(1, 0)
		b.values = append(b.values, s) // without tags: found by their keys alone from the ninth on
		x.len++
	}
	b := x.own(1, 0)
	for i, s := range b.values[:8] {
		require.Nil(t, x.get(s.ID))
		b.tags |= tag(hashOf(&x, s)) << (8 * i)
	}
	checkIndex(t, &x, want)
	for id := range want {
		s := &value{ID: id}
		want[id] = s
		x.put(2, s)
	}
	checkIndex(t, &x, want)
	for id := range want {
		x.remove(3, id)
		delete(want, id)
		checkIndex(t, &x, want)
	}
}

func hashOf(x *index[value], s *value) uint64 {
	c, _ := newIndex(x.key, nil, 0)
	c.seed = x.seed
	c.put(1, s)
	return (c.books[0].pages[0].chunks[0].buckets[0].tags & 0x7f) << 57
}

func TestNewIndex(t *testing.T) {
	const n = 3 * bookLen * indexLoad // so that there is more than one book
	var all []*value
	want := map[string]*value{}
	for i := range n {
		s := &value{Name: fmt.Sprint(i)}
		want[s.Name] = s
		all = append(all, s)
	}
	_, unique := newIndex(valueKeys.Name, append(all, &value{Name: "17"}), 0)
	require.False(t, unique)
	x, unique := newIndex(valueKeys.Name, all, 0)
	require.True(t, unique)
	require.Equal(t, n/indexLoad, x.buckets)
	checkIndex(t, &x, want)

	before := x
	kept := map[string]*value{}
	maps.Copy(kept, want)
	for i := range n - 5 {
		name := fmt.Sprint(i)
		x.remove(1, name)
		delete(want, name)
	}
	checkIndex(t, &x, want)
	require.Len(t, x.books, 1)
	checkIndex(t, &before, kept)
}

// TestIndexLetsGo shows that a bucket does not keep a removed value in memory.
func TestIndexLetsGo(t *testing.T) {
	const n = 400
	fresh := func(i int) *value { return &value{Name: fmt.Sprint(i)} }
	x, _ := newIndex(valueKeys.Name, nil, 0)
	var gone []weak.Pointer[value]
	for i := range n {
		s := fresh(i)
		x.put(0, s)
		if i%4 != 0 {
			gone = append(gone, weak.Make(s))
		}
	}
	for i := range n {
		switch i % 4 {
		case 1:
			x.remove(0, fmt.Sprint(i))
		case 2, 3:
			x.put(0, fresh(i))
		}
	}
	runtime.GC()
	kept := 0
	for _, p := range gone {
		if p.Value() != nil {
			kept++
		}
	}
	require.Zero(t, kept)
	require.Equal(t, n-n/4, x.len)
}
