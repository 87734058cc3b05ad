package table

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
)

// The order of names is a B+ tree that is copied by parts, like the index. It is
// ours because a search for a part of a name must not wait for memory once for
// each value: a leaf holds its values' names, folded, in one piece of text (see
// [folded]).

// The numbers of entries in a node. More make searches faster and edits slower.
const (
	maxEntries  = 32
	fullEntries = 28 // in the nodes of a new tree, so that it takes a few more
	minEntries  = 8  // or a node is joined with one beside it, if one has room
)

// named is a value with the beginning of its name. The first bytes decide
// nearly every comparison, so that a comparison rarely reads the value's
// memory.
type named[T any] struct {
	first uint64 // the first eight bytes of the name, padded with zeros
	value *T
}

// node is a node of the tree. It never changes once its edit is over, but for the text
// of a leaf, which the first search makes.
type node[T any] struct {
	edit uint64 // that made it, and may change it
	// entries are the values of a leaf. In a branch, entry i is a lower bound of
	// what is below kids[i] and an upper one of what is below kids[i-1]. Few edits
	// change a bound, so branches share the slice, and it is never changed in place.
	entries []named[T]
	kids    []*node[T]             // of a branch
	ends    []uint32               // of a branch: ends[i] is the number of values below kids[:i+1]
	text    atomic.Pointer[folded] // of a leaf; nil before the first search
}

func (k Keys[T]) named(value *T) named[T] {
	var first [8]byte
	copy(first[:], k.Name(value))
	return named[T]{binary.BigEndian.Uint64(first[:]), value}
}

func (k Keys[T]) compare(a, b named[T]) int {
	if a.first != b.first {
		return cmp.Compare(a.first, b.first)
	}
	return strings.Compare(k.Name(a.value), k.Name(b.value))
}

// newOrder returns the tree of values that are sorted by name.
func newOrder[T any](sorted []entry[T], edit uint64) *node[T] {
	level := make([]*node[T], 0, len(sorted)/fullEntries+1)
	for entries := range slices.Chunk(sorted, fullEntries) {
		leaf := &node[T]{edit: edit, entries: make([]named[T], len(entries))}
		for i, e := range entries {
			leaf.entries[i] = e.named
		}
		level = append(level, leaf)
	}
	for len(level) > 1 {
		above := make([]*node[T], 0, len(level)/fullEntries+1)
		for kids := range slices.Chunk(level, fullEntries) {
			above = append(above, over(edit, kids...))
		}
		level = above
	}
	if len(level) == 0 {
		return &node[T]{edit: edit}
	}
	return level[0]
}

// branch is a branch with arrays that have room for one kid too many. Being one piece
// of memory, it is made faster. Leaves take as much as they need: nearly all nodes are
// leaves.
type branch[T any] struct {
	node[T]
	allKids [maxEntries + 1]*node[T]
	allEnds [maxEntries + 1]uint32
}

// newBranch returns a branch with the entries and with copies of the other slices.
func newBranch[T any](edit uint64, entries []named[T], kids []*node[T], ends []uint32) *node[T] {
	b := &branch[T]{node: node[T]{edit: edit, entries: entries}}
	b.kids = append(b.allKids[:0], kids...)
	b.ends = append(b.allEnds[:0], ends...)
	return &b.node
}

// over returns a branch over the kids.
func over[T any](edit uint64, kids ...*node[T]) *node[T] {
	bounds := make([]named[T], len(kids))
	for i, kid := range kids {
		bounds[i] = kid.entries[0]
	}
	n := newBranch(edit, bounds, kids, make([]uint32, len(kids)))
	n.count(0)
	return n
}

// count sets the ends of a branch from kid i on.
func (n *node[T]) count(i int) {
	total := uint32(0)
	if i > 0 {
		total = n.ends[i-1]
	}
	for ; i < len(n.kids); i++ {
		total += uint32(n.kids[i].len())
		n.ends[i] = total
	}
}

// shift adds to the ends from entry i on, modulo 2^32. Unlike count, it reads no kid:
// each would be a wait for memory.
func (n *node[T]) shift(i int, by uint32) {
	for ; i < len(n.ends); i++ {
		n.ends[i] += by
	}
}

// len returns the number of values in the node or below.
func (n *node[T]) len() int {
	switch {
	case n.kids == nil:
		return len(n.entries)
	case len(n.ends) == 0:
		return 0
	}
	return int(n.ends[len(n.ends)-1])
}

// own returns n if the edit made it, and else a copy that the edit may change; a leaf
// with room for more entries.
func (n *node[T]) own(edit uint64, room int) *node[T] {
	switch {
	case n.edit == edit:
		return n
	case n.kids != nil:
		return newBranch(edit, n.entries, n.kids, n.ends)
	}
	return &node[T]{edit: edit, entries: append(make([]named[T], 0, len(n.entries)+room), n.entries...)}
}

// bound makes e the bound of kid i of a branch, unless it is that already.
func (n *node[T]) bound(i int, e named[T]) {
	if n.entries[i].value != e.value {
		n.entries = slices.Clone(n.entries)
		n.entries[i] = e
	}
}

// find returns the index of the entry with the name, or of where it would be.
func (k Keys[T]) find(n *node[T], e named[T]) (int, bool) {
	return slices.BinarySearchFunc(n.entries, e, k.compare)
}

// below returns the index of the kid of a branch that has, or would have, the entry.
func (k Keys[T]) below(n *node[T], e named[T]) int {
	i, found := k.find(n, e)
	if !found && i > 0 {
		i--
	}
	return i
}

// set returns the tree with the entry, in the place of one with the same name if
// there is one.
func (k Keys[T]) set(root *node[T], edit uint64, e named[T]) *node[T] {
	root, right := k.setIn(root, edit, e)
	if right == nil {
		return root
	}
	return over(edit, root, right)
}

// setIn returns the node with the entry, and a second node to follow it if one has
// become two.
func (k Keys[T]) setIn(n *node[T], edit uint64, e named[T]) (left, right *node[T]) {
	if n.kids == nil {
		i, found := k.find(n, e)
		if found {
			text := n.text.Load()
			n = n.own(edit, 0)
			n.entries[i] = e
			n.text.Store(text)
			return n, nil
		}
		n = n.own(edit, 1)
		n.text.Store(nil)
		n.entries = slices.Insert(n.entries, i, e)
	} else {
		i := k.below(n, e)
		n = n.own(edit, 0)
		kid, more := k.setIn(n.kids[i], edit, e)
		n.kids[i] = kid
		if k.compare(e, n.entries[i]) <= 0 {
			n.bound(i, e)
		}
		before := n.ends[i]
		n.ends[i] = n.start(i) + uint32(kid.len())
		if more != nil {
			n.kids = slices.Insert(n.kids, i+1, more)
			n.entries = slices.Concat(n.entries[:i+1], more.entries[:1], n.entries[i+1:])
			i++
			n.ends = slices.Insert(n.ends, i, n.ends[i-1]+uint32(more.len()))
		}
		n.shift(i+1, n.ends[i]-before)
	}
	if len(n.entries) <= maxEntries {
		return n, nil
	}
	return n.cut(edit, 0, len(n.entries)/2), n.cut(edit, len(n.entries)/2, len(n.entries))
}

// cut returns a node with the entries from i to j.
func (n *node[T]) cut(edit uint64, i, j int) *node[T] {
	if n.kids != nil {
		part := newBranch(edit, slices.Clone(n.entries[i:j]), n.kids[i:j], n.ends[i:j])
		part.shift(0, -n.start(i))
		return part
	}
	return &node[T]{edit: edit, entries: slices.Clone(n.entries[i:j])}
}

// start returns the number of values below the kids before kid i.
func (n *node[T]) start(i int) uint32 {
	if i == 0 {
		return 0
	}
	return n.ends[i-1]
}

// remove returns the tree without the entry, which must be there.
func (k Keys[T]) remove(root *node[T], edit uint64, e named[T]) *node[T] {
	root = k.removeIn(root, edit, e)
	for len(root.kids) == 1 {
		root = root.kids[0]
	}
	return root
}

func (k Keys[T]) removeIn(n *node[T], edit uint64, e named[T]) *node[T] {
	n = n.own(edit, 0)
	if n.kids == nil {
		i, _ := k.find(n, e)
		n.entries = slices.Delete(n.entries, i, i+1)
		n.text.Store(nil)
		return n
	}
	i := k.below(n, e)
	kid := k.removeIn(n.kids[i], edit, e)
	n.kids[i] = kid
	switch {
	case kid.len() == 0 && len(n.kids) > 1:
		gone := n.start(i) - n.ends[i]
		n.drop(i)
		n.shift(i, gone)
		return n
	case len(kid.entries) < minEntries:
		i = n.join(edit, i)
		n.count(i)
	default:
		before := n.ends[i]
		n.ends[i] = n.start(i) + uint32(kid.len())
		n.shift(i+1, n.ends[i]-before)
	}
	if kid.len() > 0 {
		n.bound(i, n.kids[i].entries[0]) // the removed value is nobody's bound
	}
	return n
}

// drop removes kid i.
func (n *node[T]) drop(i int) {
	n.kids = slices.Delete(n.kids, i, i+1)
	n.entries = slices.Concat(n.entries[:i], n.entries[i+1:])
	n.ends = slices.Delete(n.ends, i, i+1)
}

// join makes one node of kid i and one beside it, if they are small enough, and
// returns the index of the first kid that it changed.
func (n *node[T]) join(edit uint64, i int) int {
	for _, left := range []int{i - 1, i} {
		if left < 0 || left+1 >= len(n.kids) {
			continue
		}
		a, b := n.kids[left], n.kids[left+1]
		if len(a.entries)+len(b.entries) > fullEntries {
			continue
		}
		joined := &node[T]{edit: edit}
		if a.kids != nil {
			joined = newBranch(edit, nil, a.kids, a.ends)
			joined.kids = append(joined.kids, b.kids...)
			joined.ends = append(joined.ends, b.ends...)
			joined.shift(len(a.ends), a.ends[len(a.ends)-1])
		}
		joined.entries = slices.Concat(a.entries, b.entries)
		n.kids[left] = joined
		n.drop(left + 1)
		return left
	}
	return i
}

// scan calls yield for the values until it returns false, and returns whether it
// never did.
func (n *node[T]) scan(yield func(*T) bool) bool {
	for _, kid := range n.kids {
		if !kid.scan(yield) {
			return false
		}
	}
	if n.kids == nil {
		for _, e := range n.entries {
			if !yield(e.value) {
				return false
			}
		}
	}
	return true
}

// at returns the value at an offset.
func (n *node[T]) at(offset int) *T {
	for n.kids != nil {
		kid, inKid := n.kidAt(offset)
		n, offset = n.kids[kid], inKid
	}
	return n.entries[offset].value
}

// appendFrom appends copies of the values after the first offset of them, until
// out is full.
func (n *node[T]) appendFrom(out []T, offset int) []T {
	if n.kids == nil {
		for _, e := range n.entries[offset:min(len(n.entries), offset+cap(out)-len(out))] {
			out = append(out, *e.value)
		}
		return out
	}
	first, offset := n.kidAt(offset)
	for _, kid := range n.kids[first:] {
		if len(out) == cap(out) {
			break
		}
		out = kid.appendFrom(out, offset)
		offset = 0
	}
	return out
}

// appendBack is appendFrom in descending order, with the value at the index last
// as the first.
func (n *node[T]) appendBack(out []T, last int) []T {
	if n.kids == nil {
		for i := last; i >= 0 && len(out) < cap(out); i-- {
			out = append(out, *n.entries[i].value)
		}
		return out
	}
	i, last := n.kidAt(last)
	for ; i >= 0 && len(out) < cap(out); i-- {
		out = n.kids[i].appendBack(out, last)
		if i > 0 {
			last = n.kids[i-1].len() - 1
		}
	}
	return out
}

// kidAt returns the index of the kid below which the value at an offset is, and the
// value's offset there.
func (n *node[T]) kidAt(offset int) (kid, inKid int) {
	kid = sort.Search(len(n.ends), func(i int) bool { return int(n.ends[i]) > offset })
	return kid, offset - int(n.start(kid))
}
