// Package boltfile reads bbolt files without trusting them. bbolt maps a file
// and follows the numbers in it. In a damaged file that causes panics, some of
// them in bbolt's own goroutines, where a caller can't recover them. This
// package reads with ReadAt and checks every number before using it. Whatever
// the file says, it needs memory for only a few pages plus one bit per page.
//
// The checker is our own because bbolt's own check maps the file and can itself
// panic on damage.
//
// The format is version 2 of bbolt's: pages of one size, each with a header and
// elements, in the byte order of the machine. The first two pages are meta
// pages, which successive transactions write alternately. The meta page with
// the higher transaction id leads to the root bucket and to the list of free
// pages.
package boltfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// DamageError describes a damage in a file.
type DamageError struct {
	// Page is the number of the page at fault, or NoPage.
	Page uint64
	// Bucket is the top-level bucket that the page belongs to, or "" if there
	// is none or the bucket is unknown.
	Bucket string
	// Reason says what is wrong.
	Reason string

	misfit bool // the page may be sound, but contradicts other pages
}

// ErrNotBbolt is returned by [Check] when a file is not a bbolt file: bbolt's
// magic number is in none of the places where a meta page may begin.
var ErrNotBbolt = errors.New("not a bbolt file")

// NoPage is the Page of a [DamageError] that concerns no single page.
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
	metaSize    = 64 // of a meta page's content, after the header
	elementSize = 16 // of a branch or leaf page
	bucketSize  = 16 // of a bucket's header, the value of its element

	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10

	bucketElement = 0x01 // flag of a leaf element

	noFreelist = math.MaxUint64 // page number for a file without a free list

	minPageSize = 512
	maxPageSize = 16 << 20
	maxKeySize  = 32768

	// maxDepth limits the number of pages from the root bucket to the deepest
	// leaf, nested buckets included. A tree a hundredth as deep is larger than
	// any disk.
	maxDepth = 1000
)

var order = binary.NativeEndian

// Check verifies the structure of the bbolt file that r reads, of size bytes.
// It returns nil if bbolt can safely read and write the file: both meta pages
// are valid, the tree of the newer one is well-formed to the last key, no page
// is used twice, and every page is either in use or in the list of free pages
// (if the file has one). Check does not look into keys and values.
//
// A [*DamageError] is returned for the first damage, [ErrNotBbolt] for another
// program's file, and otherwise the error of r.
//
// An invalid meta page is damage. bbolt uses the other meta page instead, which
// is right after a crash during the write. But the 80 bytes that count are in
// one sector, and a disk writes a sector as a whole or not at all. So an
// invalid meta page was damaged later, and the other one may lack the last
// commit, which was reported as durable.
//
// Two meta pages that bbolt never leaves together are damage, too: one write
// was lost. Check can't detect that only the very last write of a meta page was
// lost, because a file before the last commit looks the same. If several of the
// last writes were lost, the meta pages may lead to pages of later commits.
// Such pages seldom fit together; if they do, Check can't detect the loss
// either. A transaction number among the contents proves nothing, because
// Compact restarts the count.
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
	used pageSet // pages seen so far, free pages included
	// spare holds unused buffers of one page.
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

// read returns a page. It marks the page and its overflow pages as used. The
// caller returns the page with release.
func (c *checker) read(number uint64) (page, error) {
	if number < 2 || number >= c.meta.pages {
		return page{}, damage(number, "another page leads to it, but the file has only pages 2 to %d", c.meta.pages-1)
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
		return page{}, damage(number, "its header has the number of page %d", id)
	}
	overflow := uint64(order.Uint32(body[12:]))
	if overflow >= c.meta.pages-number {
		return page{}, damage(number, "its header claims %d overflow pages, but fewer pages follow", overflow)
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
			return damage(id, "it is in the list of free pages and also in use")
		}
		c.used.add(id)
	}
	return nil
}

// tree checks a bucket's tree, or a part of the tree, from a page downwards.
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
			err = damage(number, "a key outside of all buckets: %.40q", e.key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket checks the bucket whose header is value.
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
			return inBucket(damage(number, "an inline bucket contains another bucket"), bucket)
		}
	}
	return nil
}
