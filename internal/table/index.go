package table

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// index finds values by one of their two unique keys. It is a hash table that
// grows and shrinks one bucket at a time (linear hashing, W. Litwin, 1980), so
// that no single write pays for doubling the table. A changed part is copied
// first. An edit begins with a copy of the index value and leaves the original
// unchanged, so readers of the original need no lock.
//
// The index is our own because a plain map, which is faster to read, must be
// copied whole for each edit, and published persistent maps take five to eight
// times as long to read.
type index[T any] struct {
	key     func(*T) string
	seed    maphash.Seed
	len     int // number of values
	buckets int
	books   []*indexBook[T]
	owned   uint64 // the edit that made books and may change it
}

// A lookup goes through a book, a page and a chunk to the bucket. Each is a
// small array, because an edit copies the whole array to change one bucket.
type indexBook[T any] struct {
	edit  uint64 // the edit that made the book and may change it
	pages [fanOut]*indexPage[T]
}

type indexPage[T any] struct {
	edit   uint64
	chunks [fanOut]*indexChunk[T]
}

type indexChunk[T any] struct {
	edit    uint64
	buckets [chunkLen]indexBucket[T]
}

// indexBucket holds about four values. A search compares one byte of each
// value's hash, all bytes at once. So it usually looks at one value and causes
// no branch misprediction.
type indexBucket[T any] struct {
	tags   uint64 // of the first eight values, a byte each; 0: no value
	values []*T
}

const (
	chunkLen = 8
	fanOut   = 32
	pageLen  = chunkLen * fanOut // buckets in a page
	bookLen  = pageLen * fanOut  // buckets in a book

	// The average number of values in a bucket. The table grows above indexLoad
	// and shrinks below indexMinLoad.
	indexLoad    = 4
	indexMinLoad = 2

	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// newIndex returns an index of the values, owned by the edit. It reports
// whether all keys are unique; if they are not, the index is of no use.
func newIndex[T any](key func(*T) string, values []*T, edit uint64) (x index[T], unique bool) {
	x = index[T]{key: key, seed: maphash.MakeSeed(), owned: edit} // a random seed, so that nobody can choose colliding keys
	for range max(1, len(values)/indexLoad) {
		x.grow(edit)
	}
	hashes := make([]uint64, len(values))
	sizes := make([]int, x.buckets)
	for i, s := range values {
		hashes[i] = maphash.String(x.seed, x.key(s))
		sizes[x.bucketOf(hashes[i])]++
	}
	for i, s := range values {
		n := x.bucketOf(hashes[i])
		b := x.bucket(n)
		if x.find(b, hashes[i], x.key(s)) >= 0 {
			return x, false
		}
		if b.values == nil {
			b.values = make([]*T, 0, sizes[n])
		}
		b.tag(len(b.values), hashes[i])
		b.values = append(b.values, s)
		x.len++
	}
	return x, true
}

// bucketOf returns the number of the bucket for a hash. The values of a bucket
// that does not exist yet are in the bucket that it will be split from.
func (x *index[T]) bucketOf(hash uint64) int {
	mask := 1<<bits.Len(uint(x.buckets-1)) - 1
	b := int(hash) & mask
	if b >= x.buckets {
		b &= mask >> 1
	}
	return b
}

// splitFrom returns the number of the bucket that bucket b was split from.
func splitFrom(b int) int { return b &^ (1 << (bits.Len(uint(b)) - 1)) }

// tag returns the byte of the hash that a bucket keeps. The byte is never 0 and
// consists of bits that do not select the bucket.
func tag(hash uint64) uint64 { return hash>>57 | 0x80 }

func (x *index[T]) bucket(n int) *indexBucket[T] {
	return &x.books[n/bookLen].pages[n/pageLen%fanOut].chunks[n/chunkLen%fanOut].buckets[n%chunkLen]
}

// get returns the value with the key, or nil.
func (x *index[T]) get(key string) *T {
	hash := maphash.String(x.seed, key)
	b := x.bucket(x.bucketOf(hash))
	if i := x.find(b, hash, key); i >= 0 {
		return b.values[i]
	}
	return nil
}

func (x *index[T]) find(b *indexBucket[T], hash uint64, key string) int {
	// A byte of differ is 0 where the tags are equal. The next line sets the
	// high bit of each such byte, and sometimes of one more.
	differ := b.tags ^ lowBits*tag(hash)
	for same := (differ - lowBits) &^ differ & highBits; same != 0; same &= same - 1 {
		if i := bits.TrailingZeros64(same) / 8; x.key(b.values[i]) == key {
			return i
		}
	}
	for i := 8; i < len(b.values); i++ {
		if x.key(b.values[i]) == key {
			return i
		}
	}
	return -1
}

// put adds s, or replaces the value with the same key.
func (x *index[T]) put(edit uint64, s *T) {
	key := x.key(s)
	hash := maphash.String(x.seed, key)
	b := x.own(edit, x.bucketOf(hash))
	if i := x.find(b, hash, key); i >= 0 {
		b.values = slices.Clone(b.values)
		b.values[i] = s
		return
	}
	b.add(hash, s)
	x.len++
	if x.len > indexLoad*x.buckets {
		x.grow(edit)
	}
}

// remove deletes the value with the key. The value must exist.
func (x *index[T]) remove(edit uint64, key string) {
	hash := maphash.String(x.seed, key)
	b := x.own(edit, x.bucketOf(hash))
	gone := x.find(b, hash, key)
	x.split(b, nil, func(i int, _ uint64) bool { return i == gone })
	x.len--
	if x.len < indexMinLoad*x.buckets && x.buckets > 1 {
		x.shrink(edit)
	}
}

// grow splits one bucket in two.
func (x *index[T]) grow(edit uint64) {
	n := x.buckets
	if n%bookLen == 0 {
		x.ownBooks(edit)
		x.books = append(x.books, nil)
	}
	x.own(edit, n)
	x.buckets++
	if x.len > 0 {
		x.split(x.own(edit, splitFrom(n)), x.own(edit, n), func(_ int, hash uint64) bool { return x.bucketOf(hash) == n })
	}
}

// shrink merges the last bucket into the bucket that it was split from.
func (x *index[T]) shrink(edit uint64) {
	n := x.buckets - 1
	last := x.own(edit, n)
	to := x.own(edit, splitFrom(n))
	for _, s := range last.values {
		to.add(maphash.String(x.seed, x.key(s)), s)
	}
	*last = indexBucket[T]{}
	x.buckets--
	book := x.books[n/bookLen] // owned: own(edit, n) above has seen to that
	switch {
	case n%bookLen == 0:
		x.books = slices.Delete(x.books, n/bookLen, n/bookLen+1)
	case n%pageLen == 0:
		book.pages[n/pageLen%fanOut] = nil
	case n%chunkLen == 0:
		book.pages[n/pageLen%fanOut].chunks[n/chunkLen%fanOut] = nil
	}
}

// split moves the values for which leaves returns true to an empty bucket. If
// to is nil, split drops them.
func (x *index[T]) split(from, to *indexBucket[T], leaves func(i int, hash uint64) bool) {
	// Each bucket gets a new slice, so that a bucket keeps no moved value
	// alive.
	stay, left := make([]*T, 0, 8), make([]*T, 0, 8)
	old := from.values
	*from = indexBucket[T]{}
	for i, s := range old {
		hash := maphash.String(x.seed, x.key(s))
		if !leaves(i, hash) {
			from.tag(len(stay), hash)
			stay = append(stay, s)
		} else if to != nil {
			to.tag(len(left), hash)
			left = append(left, s)
		}
	}
	from.values = append([]*T(nil), stay...) // with slices.Clone, stay would escape to the heap
	if to != nil {
		to.values = append([]*T(nil), left...)
	}
}

// add appends s. Several indexes may share the slice of values, so add copies
// the slice. The bucket itself belongs to its chunk.
func (b *indexBucket[T]) add(hash uint64, s *T) {
	n := len(b.values)
	values := make([]*T, n+1)
	copy(values, b.values)
	values[n] = s
	b.values = values
	b.tag(n, hash)
}

// tag records the hash of the value at index n.
func (b *indexBucket[T]) tag(n int, hash uint64) {
	if n < 8 {
		b.tags |= tag(hash) << (8 * n)
	}
}

// own returns bucket n, in parts that the edit may change.
func (x *index[T]) own(edit uint64, n int) *indexBucket[T] {
	x.ownBooks(edit)
	book := own(edit, &x.books[n/bookLen], func(b *indexBook[T]) *uint64 { return &b.edit })
	page := own(edit, &book.pages[n/pageLen%fanOut], func(p *indexPage[T]) *uint64 { return &p.edit })
	chunk := own(edit, &page.chunks[n/chunkLen%fanOut], func(c *indexChunk[T]) *uint64 { return &c.edit })
	return &chunk.buckets[n%chunkLen]
}

// own returns the part at place after making sure that the edit owns it. It
// keeps a part that the edit made, copies the part of an earlier edit, and
// makes a new part if there is none.
func own[T any](edit uint64, place **T, madeBy func(*T) *uint64) *T {
	if part := *place; part == nil || *madeBy(part) != edit {
		made := new(T)
		if part != nil {
			*made = *part
		}
		*madeBy(made) = edit
		*place = made
	}
	return *place
}

func (x *index[T]) ownBooks(edit uint64) {
	if x.owned != edit {
		x.books, x.owned = slices.Clone(x.books), edit
	}
}
