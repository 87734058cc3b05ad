package table

import (
	"bytes"

	"github.com/customstatus/customstatus/internal/fold"
)

// folded is the folded names of a leaf's entries, one after the other. The name of
// entry i ends at ends[i]. A folded never changes.
type folded struct {
	text []byte
	ends []uint32
}

// foldedNames returns the names of a leaf. The first search makes them, because they
// cost a write more than the rest of the order. Two searches at once may both make
// them, and make the same.
func (k Keys[T]) foldedNames(leaf *node[T]) *folded {
	if f := leaf.text.Load(); f != nil {
		return f
	}
	var all [maxEntries]string
	names := all[:0]
	for _, e := range leaf.entries {
		names = append(names, k.Name(e.value))
	}
	f := &folded{ends: make([]uint32, len(names))}
	f.text = bytes.Clone(fold.AppendAll(make([]byte, 0, 1024), names, f.ends))
	leaf.text.Store(f)
	return f
}

// search calls yield for the values whose folded name contains part, which is not
// empty.
func (k Keys[T]) search(n *node[T], part []byte, yield func(*T) bool) bool {
	for _, kid := range n.kids {
		if !k.search(kid, part, yield) {
			return false
		}
	}
	if n.kids != nil {
		return true
	}
	f := k.foldedNames(n)
	for at, i := 0, 0; ; {
		found := bytes.Index(f.text[at:], part)
		if found < 0 {
			return true
		}
		at += found
		for int(f.ends[i]) <= at {
			i++
		}
		// What goes over into the next name is no match, and no other begins
		// behind it in this one.
		if at+len(part) <= int(f.ends[i]) && !yield(n.entries[i].value) {
			return false
		}
		at = int(f.ends[i])
		i++
	}
}
