package table

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// index finds values by one of their two unique keys. It is a hash table that
// grows and shrinks a bucket at a time (linear hashing, W. Litwin, 1980), so
// that no write ever pays for a table that doubles, and whose parts are copied
// when they are changed. An edit begins by copying the index, which is a value,
// and leaves the one it came from as it was; readers of that one need no lock.
//
// A plain map is read faster, but would have to be copied whole for each edit.
type index[T any] struct {
	key     func(*T) string
	seed    maphash.Seed
	len     int // values
	buckets int
	books   []*indexBook[T]
	owned   uint64 // the edit that made books and may still change it
}

// A bucket is found in a few steps, each an array that is small, since an edit
// copies all of it to change one bucket.
type indexBook[T any] struct {
	edit  uint64 // the edit that made it and may still change it
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

// indexBucket holds about four values. It is searched by a byte of each
// value's hash, all at once, so that as a rule one value is looked at and the
// processor never guesses wrong.
type indexBucket[T any] struct {
	tags   uint64 // of the first eight; 0: none
	values []*T
}

const (
	chunkLen = 8
	fanOut   = 32
	pageLen  = chunkLen * fanOut // buckets in a page
	bookLen  = pageLen * fanOut  // buckets in a book

	// The values a bucket, on average, between which the table neither
	// grows nor shrinks.
	indexLoad    = 4
	indexMinLoad = 2

	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// newIndex returns the index of values, which the edit may change, and reports
// whether no two of them have the same key.
func newIndex[T any](key func(*T) string, values []*T, edit uint64) (x index[T], unique bool) {
	x = index[T]{key: key, seed: maphash.MakeSeed(), owned: edit} // nobody can choose keys that collide
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

// bucketOf returns the number of the bucket for a hash. A bucket that there
// isn't yet is still part of the one that it will be split from.
func (x *index[T]) bucketOf(hash uint64) int {
	mask := 1<<bits.Len(uint(x.buckets-1)) - 1
	b := int(hash) & mask
	if b >= x.buckets {
		b &= mask >> 1
	}
	return b
}

// splitFrom returns the bucket that bucket b came from.
func splitFrom(b int) int { return b &^ (1 << (bits.Len(uint(b)) - 1)) }

// tag is the byte of the hash that a bucket keeps. It is never 0, and made of
// bits that don't decide on the bucket.
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
	// A byte of differ is 0 where the tag is the same. The next line sets the
	// high bit of each such byte, and now and then of one more.
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

// put adds s, in place of the value with the same key if there is one.
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

// remove takes out the value with the key, which must be there.
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

// shrink puts the last bucket back into the one it was split from.
func (x *index[T]) shrink(edit uint64) {
	n := x.buckets - 1
	last := x.own(edit, n)
	to := x.own(edit, splitFrom(n))
	for _, s := range last.values {
		to.add(maphash.String(x.seed, x.key(s)), s)
	}
	*last = indexBucket[T]{}
	x.buckets--
	book := x.books[n/bookLen] // owned, as all that leads to the last bucket
	switch {
	case n%bookLen == 0:
		x.books = slices.Delete(x.books, n/bookLen, n/bookLen+1)
	case n%pageLen == 0:
		book.pages[n/pageLen%fanOut] = nil
	case n%chunkLen == 0:
		book.pages[n/pageLen%fanOut].chunks[n/chunkLen%fanOut] = nil
	}
}

// split takes the values that leave out of a bucket and gives them to an empty
// one, or drops them if to is nil.
func (x *index[T]) split(from, to *indexBucket[T], leaves func(i int, hash uint64) bool) {
	// Each bucket gets a slice of its own, which holds on to nothing that has left
	// it.
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
	from.values = append([]*T(nil), stay...) // slices.Clone would have stay allocated
	if to != nil {
		to.values = append([]*T(nil), left...)
	}
}

// add puts s last. The values of a bucket are shared by the indexes that have
// it, so they are copied; a bucket itself belongs to its chunk.
func (b *indexBucket[T]) add(hash uint64, s *T) {
	n := len(b.values)
	values := make([]*T, n+1)
	copy(values, b.values)
	values[n] = s
	b.values = values
	b.tag(n, hash)
}

// tag notes the hash of the value with the number n.
func (b *indexBucket[T]) tag(n int, hash uint64) {
	if n < 8 {
		b.tags |= tag(hash) << (8 * n)
	}
}

// own returns a bucket that the edit may change.
func (x *index[T]) own(edit uint64, n int) *indexBucket[T] {
	x.ownBooks(edit)
	book := own(edit, &x.books[n/bookLen], func(b *indexBook[T]) *uint64 { return &b.edit })
	page := own(edit, &book.pages[n/pageLen%fanOut], func(p *indexPage[T]) *uint64 { return &p.edit })
	chunk := own(edit, &page.chunks[n/chunkLen%fanOut], func(c *indexChunk[T]) *uint64 { return &c.edit })
	return &chunk.buckets[n%chunkLen]
}

// own puts a part that the edit may change in its place: the one there if the
// edit made it, a copy, or a new one if there is none.
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
