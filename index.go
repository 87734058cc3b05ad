package customstatus

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// index finds statuses by one of their two unique keys. It is a persistent hash
// trie: an edit copies the nodes on its path and leaves the index it came from
// as it was, so readers of that one need no lock. An index is a value; copying
// it is the way to begin an edit.
//
// A plain map would be faster to read by a half, but must be copied whole for
// each commit.
type index struct {
	key  func(*CustomUserStatus) string
	hash func(string) uint64
	root *indexNode
}

const (
	indexBits  = 5                // of the hash, used up by each level
	indexMask  = 1<<indexBits - 1 // one level's part of the hash
	indexDepth = 64/indexBits + 1 // levels; a node below them is a plain list
)

// indexNode has up to 32 slots, each empty, a status, or a deeper node. The
// bitmaps tell which, and the slices hold only what is there.
type indexNode struct {
	edit     uint64 // the edit that made the node and may still change it
	statuses uint32 // slots that hold a status
	children uint32 // slots that hold a node
	status   []*CustomUserStatus
	child    []*indexNode
}

func newIndex(key func(*CustomUserStatus) string) index {
	seed := maphash.MakeSeed() // of our own, so that nobody can choose names that collide
	return index{
		key:  key,
		hash: func(s string) uint64 { return maphash.String(seed, s) },
		root: &indexNode{},
	}
}

// rank is the place in a slice of the slot that bit stands for.
func rank(bitmap, bit uint32) int { return bits.OnesCount32(bitmap & (bit - 1)) }

// get returns the status with the key, or nil.
func (x *index) get(key string) *CustomUserStatus {
	n, hash := x.root, x.hash(key)
	for range indexDepth {
		bit := uint32(1) << (hash & indexMask)
		switch {
		case n.statuses&bit != 0:
			if s := n.status[rank(n.statuses, bit)]; x.key(s) == key {
				return s
			}
			return nil
		case n.children&bit == 0:
			return nil
		}
		n = n.child[rank(n.children, bit)]
		hash >>= indexBits
	}
	if i := x.find(n, key); i >= 0 {
		return n.status[i]
	}
	return nil
}

// find is for nodes below the last level, whose keys have one and the same hash.
func (x *index) find(n *indexNode, key string) int {
	return slices.IndexFunc(n.status, func(s *CustomUserStatus) bool { return x.key(s) == key })
}

// put adds s, in place of the status with the same key if there is one.
func (x *index) put(edit uint64, s *CustomUserStatus) {
	key := x.key(s)
	x.root = x.putAt(x.root, edit, s, key, x.hash(key), 0)
}

func (x *index) putAt(n *indexNode, edit uint64, s *CustomUserStatus, key string, hash uint64, level int) *indexNode {
	n = n.own(edit)
	if level == indexDepth {
		if i := x.find(n, key); i >= 0 {
			n.status[i] = s
		} else {
			n.status = append(n.status, s)
		}
		return n
	}
	bit := uint32(1) << (hash & indexMask)
	c := rank(n.children, bit)
	if n.children&bit != 0 {
		n.child[c] = x.putAt(n.child[c], edit, s, key, hash>>indexBits, level+1)
		return n
	}
	i := rank(n.statuses, bit)
	if n.statuses&bit == 0 {
		n.statuses |= bit
		n.status = slices.Insert(n.status, i, s)
		return n
	}
	there := n.status[i]
	thereKey := x.key(there)
	if thereKey == key {
		n.status[i] = s
		return n
	}
	// Two keys want the slot: both move into a node of their own.
	child := &indexNode{edit: edit}
	x.putAt(child, edit, there, thereKey, x.hash(thereKey)>>(indexBits*(level+1)), level+1)
	x.putAt(child, edit, s, key, hash>>indexBits, level+1)
	n.statuses &^= bit
	n.status = slices.Delete(n.status, i, i+1)
	n.children |= bit
	n.child = slices.Insert(n.child, c, child)
	return n
}

// remove takes out the status with the key, which must be there.
func (x *index) remove(edit uint64, key string) {
	x.root = x.removeAt(x.root, edit, key, x.hash(key), 0)
}

func (x *index) removeAt(n *indexNode, edit uint64, key string, hash uint64, level int) *indexNode {
	n = n.own(edit)
	if level == indexDepth {
		i := x.find(n, key)
		n.status = slices.Delete(n.status, i, i+1)
		return n
	}
	bit := uint32(1) << (hash & indexMask)
	i := rank(n.statuses, bit)
	if n.statuses&bit != 0 {
		n.statuses &^= bit
		n.status = slices.Delete(n.status, i, i+1)
		return n
	}
	c := rank(n.children, bit)
	child := x.removeAt(n.child[c], edit, key, hash>>indexBits, level+1)
	if len(child.child) > 0 || len(child.status) > 1 {
		n.child[c] = child
		return n
	}
	// A last status moves up, so that an index that shrinks gives its nodes
	// back and depends only on what it holds.
	n.children &^= bit
	n.child = slices.Delete(n.child, c, c+1)
	if len(child.status) == 1 {
		n.statuses |= bit
		n.status = slices.Insert(n.status, i, child.status[0])
	}
	return n
}

// own returns n if the edit made it, or else a copy that the edit may change.
func (n *indexNode) own(edit uint64) *indexNode {
	if n.edit == edit {
		return n
	}
	own := *n
	own.edit = edit
	own.status = slices.Clone(n.status)
	own.child = slices.Clone(n.child)
	return &own
}
