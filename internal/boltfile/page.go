package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// page is a page's header and its content, overflow pages included.
type page struct {
	number uint64
	flags  uint16
	count  int
	body   []byte // header included
}

// freePages returns the page numbers in a list of free pages. The file has the
// given number of pages in all.
func freePages(p page, pages uint64) ([]uint64, error) {
	if p.flags != freelistPage {
		return nil, damage(p.number, "it should be the list of free pages, but has type %#x", p.flags)
	}
	list := p.body[headerSize:]
	count := uint64(p.count)
	if count == math.MaxUint16 { // the number does not fit in the header
		count = order.Uint64(list)
		list = list[8:]
	}
	if count > uint64(len(list)/8) {
		return nil, damage(p.number, "the list of free pages claims %d entries, more than fit in it", count)
	}
	ids := make([]uint64, count)
	previous := uint64(1)
	for i := range ids {
		id := order.Uint64(list[i*8:])
		if id <= previous || id >= pages {
			return nil, damage(p.number, "the list of free pages has page %d after page %d, in a file of %d pages", id, previous, pages)
		}
		ids[i], previous = id, id
	}
	return ids, nil
}

// bounds limits the keys of a page: min <= key < max. A nil bound is open.
type bounds struct {
	min, max []byte
}

// has reports whether the key is within the bounds.
func (b bounds) has(key []byte) bool {
	return bytes.Compare(key, b.min) >= 0 && (b.max == nil || bytes.Compare(key, b.max) < 0)
}

func (b bounds) String() string {
	switch {
	case b.min == nil && b.max == nil:
		return "all keys"
	case b.max == nil:
		return fmt.Sprintf("the keys from %.40q on", b.min)
	case b.min == nil:
		return fmt.Sprintf("the keys before %.40q", b.max)
	}
	return fmt.Sprintf("the keys from %.40q to before %.40q", b.min, b.max)
}

// parseBucket parses a bucket's header. It returns the number of the bucket's
// root page or, for a small bucket, 0 and the inline page, which is stored
// behind the header and has no number.
func parseBucket(number uint64, value []byte) (root uint64, inline page, err error) {
	if len(value) < bucketSize {
		return 0, page{}, damage(number, "a bucket's header of %d bytes", len(value))
	}
	root, body := order.Uint64(value), value[bucketSize:]
	if root != 0 {
		if len(body) != 0 {
			err = damage(number, "a bucket with a root page and %d unexpected bytes", len(body))
		}
		return root, page{}, err
	}
	if len(body) < headerSize {
		return 0, page{}, damage(number, "an inline bucket of %d bytes", len(body))
	}
	inline = page{number: number, flags: order.Uint16(body[8:]), count: int(order.Uint16(body[10:])), body: body}
	if inline.flags != leafPage || order.Uint64(body) != 0 || order.Uint32(body[12:]) != 0 {
		return 0, page{}, damage(number, "an inline bucket with a wrong header")
	}
	return 0, inline, nil
}

// inTree returns an error if the type or size of the page does not fit into a
// bucket's tree.
func (p page) inTree(within bounds) error {
	switch {
	case p.flags != leafPage && p.flags != branchPage:
		return damage(p.number, "it should be part of a bucket, but has type %#x", p.flags)
	case p.flags == branchPage && p.count == 0:
		return damage(p.number, "a branch page without elements")
	case p.count == 0 && within.min != nil:
		return damage(p.number, "an empty page in a bucket")
	}
	return nil
}

// inBucket adds the bucket's name to a damage that has none.
func inBucket(err error, bucket string) error {
	if d := (*DamageError)(nil); errors.As(err, &d) && d.Bucket == "" {
		d.Bucket = bucket
	}
	return err
}

// element is an element of a branch or leaf page. Its slices point into the
// page.
type element struct {
	key, value []byte
	child      uint64 // in a branch: the page below
	bucket     bool   // in a leaf: the value is a bucket's header
}

// parse returns the elements of a branch or leaf page up to the first unsound
// one. The error is set if an element is unsound.
func parse(p page, within bounds) ([]element, error) {
	next, err := p.elementsEnd()
	if err != nil {
		return nil, err
	}
	elements := make([]element, 0, p.count)
	var previous []byte
	for i := range p.count {
		e, err := p.element(i, next, previous, within)
		if err != nil {
			return elements, err
		}
		elements = append(elements, e)
		previous = e.key
		next += len(e.key) + len(e.value)
	}
	return elements, nil
}

// elementsEnd returns the offset where the elements of a page end and the first
// key begins.
func (p page) elementsEnd() (int, error) {
	end := headerSize + p.count*elementSize
	if end > len(p.body) {
		return 0, damage(p.number, "its header claims %d elements, more than fit in it", p.count)
	}
	return end, nil
}

// element returns element i of a branch or leaf page. bbolt writes keys and
// values one after the other, from the end of the elements on; element accepts
// nothing else, so the key must be at offset next.
func (p page) element(i, next int, previous []byte, within bounds) (e element, err error) {
	at := headerSize + i*elementSize
	b := p.body[at : at+elementSize]
	var (
		position     uint32
		ksize, vsize uint64
	)
	if p.flags == branchPage {
		position, ksize = order.Uint32(b), uint64(order.Uint32(b[4:]))
		e.child = order.Uint64(b[8:])
	} else {
		flags := order.Uint32(b)
		if flags&^bucketElement != 0 {
			return e, damage(p.number, "element %d has unknown flags %#x", i, flags)
		}
		e.bucket = flags == bucketElement
		position, ksize, vsize = order.Uint32(b[4:]), uint64(order.Uint32(b[8:])), uint64(order.Uint32(b[12:]))
	}
	if uint64(at)+uint64(position) != uint64(next) {
		return e, damage(p.number, "the key of element %d is in the wrong place", i)
	}
	if ksize == 0 || ksize > maxKeySize || ksize+vsize > uint64(len(p.body)-next) {
		return e, damage(p.number, "element %d has a key of %d bytes and a value of %d", i, ksize, vsize)
	}
	e.key = p.body[next : next+int(ksize)]
	e.value = p.body[next+int(ksize) : next+int(ksize+vsize)]
	switch {
	case previous != nil && bytes.Compare(previous, e.key) >= 0:
		return e, damage(p.number, "the key of element %d is not greater than the one before it", i)
	case previous == nil && within.min != nil && bytes.Compare(e.key, within.min) < 0,
		within.max != nil && bytes.Compare(e.key, within.max) >= 0:
		return e, misfit(p.number, "the key of element %d does not belong on this page", i)
	}
	return e, nil
}

// pageSet is a set of page numbers.
type pageSet []uint64

func newPageSet(pages uint64) pageSet { return make(pageSet, pages/64+1) }

func (s pageSet) has(page uint64) bool { return s[page/64]&(1<<(page%64)) != 0 }

func (s pageSet) add(page uint64) { s[page/64] |= 1 << (page % 64) }
