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
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
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
	magic   = 0xED0CDAED
	version = 2

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

// meta is the content of a meta page.
type meta struct {
	pageSize uint64
	root     uint64 // page of the root bucket
	freelist uint64 // page of the free list, or noFreelist
	pages    uint64 // number of pages in use, the free ones included
	tx       uint64 // the transaction that wrote it
}

// parseMeta returns the meta page with the given number, 0 or 1, from its first
// bytes.
func parseMeta(b []byte, number uint64) (meta, error) {
	header, body := b[:headerSize], b[headerSize:headerSize+metaSize]
	switch m := order.Uint32(body); m {
	case magic:
	case magicSwapped:
		return meta{}, damage(number, "written on a machine with the other byte order")
	default:
		return meta{}, damage(number, "no meta page of bbolt: it begins with %08x", m)
	}
	if v := order.Uint32(body[4:]); v != version {
		return meta{}, damage(number, "meta page of version %d of bbolt's format, not %d", v, version)
	}
	h := fnv.New64a()
	_, _ = h.Write(body[:metaSize-8])
	if h.Sum64() != order.Uint64(body[metaSize-8:]) {
		return meta{}, damage(number, "meta page with a wrong checksum")
	}
	if id, flags := order.Uint64(header), order.Uint16(header[8:]); id != number || flags != metaPage {
		return meta{}, damage(number, "meta page that says it is page %d of type %#x", id, flags)
	}
	m := meta{
		pageSize: uint64(order.Uint32(body[8:])),
		root:     order.Uint64(body[16:]),
		freelist: order.Uint64(body[32:]),
		pages:    order.Uint64(body[40:]),
		tx:       order.Uint64(body[48:]),
	}
	if m.pageSize < minPageSize || m.pageSize > maxPageSize || m.pageSize&(m.pageSize-1) != 0 {
		return meta{}, damage(number, "meta page with a page size of %d", m.pageSize)
	}
	return m, nil
}

const magicSwapped = 0xEDDA0CED

// readMetas returns both meta pages.
func readMetas(r io.ReaderAt, size int64) (metas [2]meta, err error) {
	if size == 0 {
		return metas, damage(NoPage, "the file is empty")
	}
	var b [headerSize + metaSize]byte
	if err := readAt(r, b[:], size, 0); err != nil {
		return metas, err
	}
	if metas[0], err = parseMeta(b[:], 0); err != nil {
		return metas, err
	}
	if err := readAt(r, b[:], size, metas[0].pageSize); err != nil {
		return metas, err
	}
	metas[1], err = parseMeta(b[:], 1)
	return metas, err
}

// readAt fills b from the given offset.
func readAt(r io.ReaderAt, b []byte, size int64, offset uint64) error {
	if offset > uint64(size) || uint64(len(b)) > uint64(size)-offset {
		return damage(NoPage, "the file is cut short: %d bytes", size)
	}
	n, err := r.ReadAt(b, int64(offset))
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return damage(NoPage, "the file is cut short: %d bytes", offset+uint64(n))
	}
	return err
}

// Check returns nil if the file that r reads, of the given size, is a sound
// bbolt file, one that bbolt can read and write without coming to grief: both
// meta pages are valid, the tree that the newer one leads to is well-formed to
// the last key, no page is used twice, and every page is in use or in the list
// of free ones (if the file has one). Contents of keys and values are the
// caller's to check. The error is a [*DamageError] for the first damage found,
// or what r returned.
//
// An invalid meta page is damage. bbolt takes the other one in its place, which
// is right if the system crashed while the page was written; but the 80 bytes
// that count stand in one sector of the disk, which is written whole or not at
// all. An invalid page is one that was damaged later, and the other one of the
// two may lack the last commit, which somebody has been told is durable.
func Check(r io.ReaderAt, size int64) error {
	metas, err := readMetas(r, size)
	if err != nil {
		return err
	}
	m, other := metas[0], metas[1]
	if other.tx > m.tx {
		m, other = other, m
	}
	if m.pageSize != other.pageSize {
		return damage(1, "meta page with a page size of %d, unlike page 0", metas[1].pageSize)
	}
	if m.tx-other.tx != 1 {
		return damage(NoPage, "the meta pages are of transactions %d and %d, not of two that follow each other: a write was lost", other.tx, m.tx)
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

// page is a page's header and its content with that of the pages behind it.
type page struct {
	number uint64
	flags  uint16
	count  int
	body   []byte // header included
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

// freePages returns the numbers in a list of free pages, of a file with so many
// pages in all.
func freePages(p page, pages uint64) ([]uint64, error) {
	if p.flags != freelistPage {
		return nil, damage(p.number, "it should be the list of free pages, but is of type %#x", p.flags)
	}
	list := p.body[headerSize:]
	count := uint64(p.count)
	if count == math.MaxUint16 { // the number does not fit in the header
		count = order.Uint64(list)
		list = list[8:]
	}
	if count > uint64(len(list)/8) {
		return nil, damage(p.number, "the list of free pages says it has %d, more than fit in it", count)
	}
	ids := make([]uint64, count)
	previous := uint64(1)
	for i := range ids {
		id := order.Uint64(list[i*8:])
		if id <= previous || id >= pages {
			return nil, damage(p.number, "the list of free pages has page %d behind page %d, of %d", id, previous, pages)
		}
		ids[i], previous = id, id
	}
	return ids, nil
}

// bounds are the keys that a page may have: from min on and below max; nil is
// no bound.
type bounds struct {
	min, max []byte
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

// parseBucket returns the root page of a bucket whose header is the value, or the
// page itself: a small bucket stands in its parent's page, as a page that has no
// number.
func parseBucket(number uint64, value []byte) (root uint64, inline page, err error) {
	if len(value) < bucketSize {
		return 0, page{}, damage(number, "a bucket's header of %d bytes", len(value))
	}
	root, body := order.Uint64(value), value[bucketSize:]
	if root != 0 {
		if len(body) != 0 {
			err = damage(number, "a bucket with a page of its own and %d bytes beside", len(body))
		}
		return root, page{}, err
	}
	if len(body) < headerSize {
		return 0, page{}, damage(number, "a bucket's page of %d bytes", len(body))
	}
	inline = page{number: number, flags: order.Uint16(body[8:]), count: int(order.Uint16(body[10:])), body: body}
	if inline.flags != leafPage || order.Uint64(body) != 0 || order.Uint32(body[12:]) != 0 {
		return 0, page{}, damage(number, "a bucket's page within it has a wrong header")
	}
	return 0, inline, nil
}

// inTree returns an error if the page can't be part of a bucket's tree.
func (p page) inTree(within bounds) error {
	switch {
	case p.flags != leafPage && p.flags != branchPage:
		return damage(p.number, "it should be part of a bucket, but is of type %#x", p.flags)
	case p.flags == branchPage && p.count == 0:
		return damage(p.number, "a branch that leads nowhere")
	case p.count == 0 && within.min != nil:
		return damage(p.number, "an empty page within a bucket")
	}
	return nil
}

// inBucket says in which bucket the damage is.
func inBucket(err error, bucket string) error {
	if d := (*DamageError)(nil); errors.As(err, &d) && d.Bucket == "" {
		d.Bucket = bucket
	}
	return err
}

// element is an element of a branch or leaf page. Its slices are the page's.
type element struct {
	key, value []byte
	child      uint64 // of a branch
	bucket     bool   // of a leaf: the value is a bucket's header
}

// parse returns the elements of a branch or leaf page: as many as are sound, and
// an error if that is not all. bbolt writes keys and values one behind the
// other, from the end of the elements on, and so nothing else is accepted.
func parse(p page, within bounds) ([]element, error) {
	next := headerSize + p.count*elementSize
	if next > len(p.body) {
		return nil, damage(p.number, "it says it has %d elements, more than fit in it", p.count)
	}
	elements := make([]element, 0, p.count)
	for i := range p.count {
		at := headerSize + i*elementSize
		b := p.body[at : at+elementSize]
		var (
			e            element
			position     uint32
			ksize, vsize uint64
		)
		if p.flags == branchPage {
			position, ksize = order.Uint32(b), uint64(order.Uint32(b[4:]))
			e.child = order.Uint64(b[8:])
		} else {
			flags := order.Uint32(b)
			if flags&^bucketElement != 0 {
				return elements, damage(p.number, "element %d has unknown flags %#x", i, flags)
			}
			e.bucket = flags == bucketElement
			position, ksize, vsize = order.Uint32(b[4:]), uint64(order.Uint32(b[8:])), uint64(order.Uint32(b[12:]))
		}
		if uint64(at)+uint64(position) != uint64(next) {
			return elements, damage(p.number, "the key of element %d is not where it should be", i)
		}
		if ksize == 0 || ksize > maxKeySize || ksize+vsize > uint64(len(p.body)-next) {
			return elements, damage(p.number, "element %d has a key of %d bytes and a value of %d", i, ksize, vsize)
		}
		e.key = p.body[next : next+int(ksize)]
		e.value = p.body[next+int(ksize) : next+int(ksize+vsize)]
		next += int(ksize + vsize)
		switch {
		case i > 0 && bytes.Compare(elements[i-1].key, e.key) >= 0:
			return elements, damage(p.number, "the key of element %d is not greater than the one before it", i)
		case i == 0 && within.min != nil && bytes.Compare(e.key, within.min) < 0,
			within.max != nil && bytes.Compare(e.key, within.max) >= 0:
			return elements, misfit(p.number, "the key of element %d does not belong on this page", i)
		}
		elements = append(elements, e)
	}
	return elements, nil
}

// pageSet is a set of page numbers.
type pageSet []uint64

func newPageSet(pages uint64) pageSet { return make(pageSet, pages/64+1) }

func (s pageSet) has(page uint64) bool { return s[page/64]&(1<<(page%64)) != 0 }

func (s pageSet) add(page uint64) { s[page/64] |= 1 << (page % 64) }
