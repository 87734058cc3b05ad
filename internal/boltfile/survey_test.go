package boltfile_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/customstatus/customstatus/internal/boltfile"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

func TestExploreGoesOnAfterDamage(t *testing.T) {
	file := files(t)["deep"]
	sound, all := explore(file)
	for page := range sound.Pages {
		if page < 2 || sound.Usage(page) == boltfile.Free || order.Uint64(file[page*pageSize:]) != page {
			continue // the page has no number, or the number does not count
		}
		b := bytes.Clone(file)
		order.PutUint64(b[page*pageSize:], page+1)
		survey, got := explore(b)
		require.NotEmpty(t, survey.Damages)
		require.Equal(t, boltfile.Misplaced, survey.Usage(page))
		for k, v := range got {
			require.Equal(t, all[k], v)
		}
	}
	// Without one of the meta pages, Explore uses the other, but does not trust it.
	for meta := range 2 {
		b := bytes.Clone(file)
		clear(b[meta*pageSize : (meta+1)*pageSize])
		survey, got := explore(b)
		require.False(t, survey.Newest)
		require.EqualValues(t, pageSize, survey.PageSize)
		require.NotEmpty(t, got)
		for page := range survey.Pages {
			require.NotEqual(t, boltfile.Free, survey.Usage(page))
		}
		if meta == newest(file) {
			require.False(t, survey.Whole("a"))
		} else {
			require.Equal(t, all, got)
		}
	}
	// Without both, nothing is known.
	b := bytes.Clone(file)
	clear(b[:2*pageSize])
	survey, got := explore(b)
	require.Empty(t, got)
	require.Equal(t, boltfile.Unknown, survey.Usage(3))
	require.EqualValues(t, pageSize, survey.PageSize, "inferred from the page numbers")
	require.EqualValues(t, len(b)/pageSize, survey.Pages)
}

func TestSurveyKnowsThePageSizeWithoutAMetaPage(t *testing.T) {
	for _, size := range []int{512, 4096, 65536} {
		b := build(t, bbolt.Options{PageSize: size}, fill("a", 0, 100, 50), drop("a", 0, 100, 2))
		clear(b[:16+64])
		clear(b[size : size+16+64])
		survey, _ := explore(b)
		require.EqualValues(t, size, survey.PageSize)
	}
	survey, _ := explore(make([]byte, 1<<16))
	require.EqualValues(t, os.Getpagesize(), survey.PageSize)
}

func TestSurveyKnowsWhichKeysAreLost(t *testing.T) {
	file := files(t)["deep"]
	sound, all := explore(file)
	require.True(t, sound.Whole("a"))
	require.False(t, sound.Whole("c"), "there is none")
	require.True(t, sound.Lost("c", []byte("key")))
	require.False(t, sound.Lost("a", []byte("no such key")))
	freelist := order.Uint64(file[newest(file)*pageSize+16+32:])
	end := freelist + uint64(order.Uint32(file[freelist*pageSize+12:]))
	missed := 0
	random := rand.New(rand.NewPCG(1, 2))
	for page := uint64(2); page < sound.Pages; page++ {
		if sound.Usage(page) != boltfile.InUse {
			continue
		}
		b := bytes.Clone(file)
		clear(b[page*pageSize : (page+1)*pageSize])
		if page%3 == 0 { // only a part of it
			copy(b[page*pageSize:(page+1)*pageSize], file[page*pageSize:])
			b[page*pageSize+16*(1+uint64(order.Uint16(b[page*pageSize+10:]))/2)+4]++
		}
		if page%2 == 0 { // and others
			for range 30 {
				more := (2 + random.Uint64N(sound.Pages-2)) * pageSize
				clear(b[more : more+pageSize])
			}
		}
		survey, got := explore(b)
		require.True(t, survey.Newest)
		require.True(t, page%2 == 0 || page%3 == 0 || survey.Listed == (page < freelist || page > end))
		for k := range all {
			bucket, key, _ := strings.Cut(k, "\x00")
			lost := survey.Lost(bucket, []byte(key))
			if _, visited := got[k]; visited == lost && !(lost && page%3 == 0) {
				t.Fatalf("page %d: %q is visited: %v", page, k, visited)
			} else if !visited {
				missed++
				require.False(t, survey.Whole(bucket))
			}
		}
	}
	require.Greater(t, missed, 2*len(all)) // each with its leaf, a branch and the root
}

func TestSurveyOfAPageThatIsSoundInPart(t *testing.T) {
	file := build(t, bbolt.Options{}, fill("a", 0, 200, 50), fill("b", 0, 200, 50))
	_, all := explore(file)
	root := int(order.Uint64(file[newest(file)*pageSize+16+16:])) * pageSize
	position := root + 16 + int(order.Uint32(file[root+16+4:]))
	bucket := int(order.Uint64(file[position+1:])) * pageSize
	leaf := int(order.Uint64(file[bucket+16+2*16+8:])) * pageSize // the third one
	elements := int(order.Uint16(file[leaf+10:]))
	require.Greater(t, elements, 5)
	for _, c := range []struct {
		what   string
		damage func(b []byte)
		missed int
		says   string
	}{
		{"type of a bucket", func(b []byte) { order.PutUint16(b[bucket+8:], 9) }, 200, "the lost keys are among all keys"},
		{"element of a leaf", func(b []byte) { b[leaf+16+3*16] = 9 }, elements - 3, "the lost keys are among the keys from \"key "},
		{"value that is a bucket", func(b []byte) { b[leaf+16+3*16] = 1 }, 1, "a bucket's header of "},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := bytes.Clone(file)
			c.damage(b)
			survey, got := explore(b)
			require.Len(t, got, len(all)-c.missed)
			require.Len(t, survey.Damages, 1)
			require.Contains(t, survey.Damages[0].Reason, c.says)
			require.False(t, survey.Whole("a"))
			require.True(t, survey.Whole("b"))
			lost := 0
			for k := range all {
				bucket, key, _ := strings.Cut(k, "\x00")
				if survey.Lost(bucket, []byte(key)) {
					lost++
				} else {
					require.Contains(t, got, k)
				}
			}
			require.Equal(t, max(c.missed, min(elements, 200)), lost)
		})
	}
}

func TestSurveyOfTheListOfFreePages(t *testing.T) {
	file := files(t)["history"]
	sound, _ := explore(file)
	require.True(t, sound.Listed)
	none, _ := explore(files(t)["no free list"])
	require.False(t, none.Listed)
	require.False(t, none.Conflict)
	list := int(order.Uint64(file[newest(file)*pageSize+16+32:])) * pageSize
	free := int(order.Uint16(file[list+10:]))
	require.Greater(t, free, 2)

	b := bytes.Clone(file) // a page too few
	order.PutUint16(b[list+10:], uint16(free-1))
	survey, _ := explore(b)
	require.True(t, survey.Conflict)

	b = bytes.Clone(file) // one of the tree in the place of that before it
	for i := range free {
		if id := order.Uint64(b[list+16+8*i:]); sound.Usage(id+1) == boltfile.InUse {
			order.PutUint64(b[list+16+8*i:], id+1)
			break
		}
	}
	survey, _ = explore(b)
	require.True(t, survey.Conflict)
	require.False(t, survey.Listed)

	last := order.Uint64(file[list+16+8*(free-1):])
	cut := max(list/pageSize+int(order.Uint32(file[list+12:])), int(last)-1) + 1
	survey, _ = explore(file[:cut*pageSize]) // the rest of a file that was cut is known
	require.Less(t, survey.Pages, sound.Pages)
	require.True(t, survey.Listed)
	for page := range survey.Pages {
		require.Equal(t, sound.Usage(page) == boltfile.Free, survey.Usage(page) == boltfile.Free)
	}
}

// TestSurveyOfAFileThatIsCut: wherever a file ends too early, Explore says so, also within
// a page that nothing uses.
func TestSurveyOfAFileThatIsCut(t *testing.T) {
	b := build(t, bbolt.Options{PageSize: pageSize}, fill("a", 0, 300, 50), drop("a", 0, 300, 1))
	pages := order.Uint64(b[newest(b)*pageSize+16+40:])
	sound, _ := explore(b)
	require.Empty(t, sound.Damages)
	require.Equal(t, boltfile.Free, sound.Usage(pages-1), "the case is about a free page")
	for missing := range uint64(pageSize + 1) {
		cut := b[:pages*pageSize-missing]
		survey, _ := explore(cut)
		require.Equal(t, boltfile.Check(bytes.NewReader(cut), int64(len(cut))) != nil, len(survey.Damages) > 0, "without %d bytes", missing)
	}
}
