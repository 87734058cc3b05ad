// Package boltfile reads bbolt files without trusting them. bbolt maps a file
// and follows what it finds there; in a damaged one that leads to panics, some
// of them on goroutines of bbolt's own where nobody can recover them. This
// package reads with ReadAt, checks every number before it uses it, and needs
// memory for a few pages and a bit per page, whatever the file says.
//
// The format is that of bbolt's version 2: pages of one size, each with a header
// and elements, in the byte order of the machine. Two meta pages stand in front,
// written in turn by one transaction after the other; the one with the higher
// transaction id leads to the root bucket and to the list of free pages.
package boltfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// DamageError says what is damaged in a file.
type DamageError struct {
	// Page is the number of the page at fault, or NoPage.
	Page uint64
	// Bucket is the top-level bucket that the page belongs to, or "" if it
	// belongs to none or it is not known.
	Bucket string
	// Reason says what is wrong with it.
	Reason string

	misfit bool // the page may be sound in itself, but not together with others
}

// ErrNotBbolt is what [Check] returns for a file that is not bbolt's: it has the
// magic number of a meta page in none of the places where one may stand.
var ErrNotBbolt = errors.New("not a bbolt file")

// NoPage is the DamageError.Page of a damage that is not one page's.
const NoPage = math.MaxUint64

// Error returns page, bucket and reason.
func (e *DamageError) Error() string {
	switch {
	case e.Page == NoPage:
		return e.Reason
	case e.Bucket == "":
		return fmt.Sprintf("page %d: %s", e.Page, e.Reason)
	}
	return fmt.Sprintf("page %d (bucket %q): %s", e.Page, e.Bucket, e.Reason)
}

func damage(page uint64, format string, args ...any) error {
	return &DamageError{Page: page, Reason: fmt.Sprintf(format, args...)}
}

func misfit(page uint64, format string, args ...any) error {
	return &DamageError{Page: page, Reason: fmt.Sprintf(format, args...), misfit: true}
}

const (
	magic        = 0xED0CDAED
	magicSwapped = 0xEDDA0CED // in the other byte order
	version      = 2

	headerSize  = 16 // of a page
	metaSize    = 64 // of what stands behind the header of a meta page
	elementSize = 16 // of a branch or leaf page
	bucketSize  = 16 // of a bucket's header, the value of its element

	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10

	bucketElement = 0x01 // flag of a leaf element

	noFreelist = math.MaxUint64 // in place of the page of the free list

	minPageSize = 512
	maxPageSize = 16 << 20
	maxKeySize  = 32768

	// maxDepth limits the pages from the root bucket to the deepest leaf,
	// those of nested buckets included. A tree of a thousandth of it holds
	// more than any disk.
	maxDepth = 1000
)

var order = binary.NativeEndian

// Check returns nil if the file that r reads, of the given size, is a sound
// bbolt file, one that bbolt can read and write without coming to grief: both
// meta pages are valid, the tree that the newer one leads to is well-formed to
// the last key, no page is used twice, and every page is in use or in the list
// of free ones (if the file has one). Contents of keys and values are the
// caller's to check. The error is a [*DamageError] for the first damage found,
// [ErrNotBbolt], or what r returned.
//
// An invalid meta page is damage. bbolt takes the other one in its place, which
// is right if the system crashed while the page was written; but the 80 bytes
// that count stand in one sector of the disk, which is written whole or not at
// all. An invalid page is one that was damaged later, and the other one of the
// two may lack the last commit, which somebody has been told is durable.
//
// Meta pages that bbolt can't have left together are damage, too: the write of
// one was lost. What can't be told is that the write of the last one was lost, and
// no other after it: a file whose last commit was never made looks the same. If
// several were lost, up to the last one, the meta pages may lead to pages of later
// commits. Those seldom fit together; if they do, it can't be told either. The
// number of a transaction that stands among the contents is no proof, as Compact
// counts transactions anew.
func Check(r io.ReaderAt, size int64) error {
	metas, err := readMetas(r, size)
	if err != nil {
		if !hasMagic(r, size) {
			return ErrNotBbolt
		}
		return err
	}
	if metas[0].pageSize != metas[1].pageSize {
		return damage(1, "meta page with a page size of %d, unlike page 0", metas[1].pageSize)
	}
	m, err := newer(metas)
	if err != nil {
		return err
	}
	c, err := newChecker(r, size, m)
	if err != nil {
		return err
	}
	if err := c.freelist(); err != nil {
		return err
	}
	if err := c.tree(m.root, bounds{}, "", 0); err != nil {
		return err
	}
	if m.freelist == noFreelist {
		return nil
	}
	for page := range m.pages {
		if !c.used.has(page) {
			return damage(page, "it is neither in use nor in the list of free pages")
		}
	}
	return nil
}

// checker walks the pages of a file.
type checker struct {
	r    io.ReaderAt
	size int64
	meta meta
	used pageSet // pages met so far, the free ones included
	// spare are buffers of one page that are not in use.
	spare [][]byte
}

func newChecker(r io.ReaderAt, size int64, m meta) (*checker, error) {
	if m.pages < 4 || m.pages > uint64(size)/m.pageSize {
		return nil, damage(NoPage, "the file is cut short: it has %d bytes and should have %d pages of %d bytes", size, m.pages, m.pageSize)
	}
	c := &checker{r: r, size: size, meta: m, used: newPageSet(m.pages)}
	c.used.add(0)
	c.used.add(1)
	return c, nil
}

// read returns a page and marks it and those behind it as used. Give it back
// with release.
func (c *checker) read(number uint64) (page, error) {
	if number < 2 || number >= c.meta.pages {
		return page{}, damage(number, "no such page, but another leads to it: there are pages 2 to %d", c.meta.pages-1)
	}
	if c.used.has(number) {
		return page{}, damage(number, "it is used twice, or used and free")
	}
	body := c.buffer()
	if err := readAt(c.r, body, c.size, number*c.meta.pageSize); err != nil {
		return page{}, err
	}
	p := page{
		number: number,
		flags:  order.Uint16(body[8:]),
		count:  int(order.Uint16(body[10:])),
		body:   body,
	}
	if id := order.Uint64(body); id != number {
		return page{}, damage(number, "what stands there says that it is page %d", id)
	}
	overflow := uint64(order.Uint32(body[12:]))
	if overflow >= c.meta.pages-number {
		return page{}, damage(number, "it says that %d pages belong to it, more than there are behind it", overflow)
	}
	for i := number; i <= number+overflow; i++ {
		if c.used.has(i) {
			return page{}, damage(i, "it is used twice, or used and free")
		}
		c.used.add(i)
	}
	if overflow > 0 {
		p.body = make([]byte, (overflow+1)*c.meta.pageSize)
		copy(p.body, body)
		c.spare = append(c.spare, body)
		rest := p.body[c.meta.pageSize:]
		if err := readAt(c.r, rest, c.size, (number+1)*c.meta.pageSize); err != nil {
			return page{}, err
		}
	}
	return p, nil
}

func (c *checker) buffer() []byte {
	if n := len(c.spare); n > 0 {
		b := c.spare[n-1]
		c.spare = c.spare[:n-1]
		return b
	}
	return make([]byte, c.meta.pageSize)
}

func (c *checker) release(p page) {
	if uint64(len(p.body)) == c.meta.pageSize {
		c.spare = append(c.spare, p.body)
	}
}

// freelist checks the list of free pages and marks them as used.
func (c *checker) freelist() error {
	if c.meta.freelist == noFreelist {
		return nil
	}
	p, err := c.read(c.meta.freelist)
	if err != nil {
		return err
	}
	defer c.release(p)
	ids, err := freePages(p, c.meta.pages)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if c.used.has(id) {
			return damage(id, "it is in the list of free pages, but used")
		}
		c.used.add(id)
	}
	return nil
}

// tree checks the tree of a bucket, or a part of it, from a page down.
func (c *checker) tree(number uint64, within bounds, bucket string, depth int) error {
	if depth > maxDepth {
		return inBucket(damage(number, "the tree is more than %d pages deep", maxDepth), bucket)
	}
	p, err := c.read(number)
	if err != nil {
		return inBucket(err, bucket)
	}
	defer c.release(p)
	if err := p.inTree(within); err != nil {
		return inBucket(err, bucket)
	}
	elements, err := parse(p, within)
	if err != nil {
		return inBucket(err, bucket)
	}
	for i, e := range elements {
		name := bucket
		switch {
		case p.flags == branchPage:
			below := bounds{min: e.key, max: within.max}
			if i+1 < len(elements) {
				below.max = elements[i+1].key
			}
			err = c.tree(e.child, below, bucket, depth+1)
		case e.bucket:
			if bucket == "" {
				name = string(e.key)
			}
			err = c.bucket(number, e.value, name, depth+1)
		case bucket == "":
			err = damage(number, "a key beside the buckets: %.40q", e.key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket checks the bucket whose header is an element's value.
func (c *checker) bucket(number uint64, value []byte, bucket string, depth int) error {
	root, inline, err := parseBucket(number, value)
	if err != nil {
		return inBucket(err, bucket)
	}
	if root != 0 {
		return c.tree(root, bounds{}, bucket, depth)
	}
	elements, err := parse(inline, bounds{})
	if err != nil {
		return inBucket(err, bucket)
	}
	for _, e := range elements {
		if e.bucket {
			return inBucket(damage(number, "a bucket within a bucket that has no page of its own"), bucket)
		}
	}
	return nil
}
