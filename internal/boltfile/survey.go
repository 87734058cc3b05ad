package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Usage says what a page is used for, as far as a [Survey] can tell.
type Usage uint8

// The usages of a page.
const (
	// Unknown means that nothing readable leads to the page, and that no
	// readable list of free pages has the page.
	Unknown Usage = iota
	// InUse means that the page is part of a bucket or of the list of free
	// pages.
	InUse
	// Misplaced means that the page is in use, but was written as another page,
	// or its number is damaged.
	Misplaced
	// Free means that the page is in the list of free pages. Its content is
	// outdated.
	Free
)

// Survey describes the pages of a file that may be damaged.
type Survey struct {
	// PageSize is the size of a page in bytes. If no meta page has it, it is
	// the size that fits the page numbers in the file, or else the system's.
	PageSize uint64
	// Pages is the number of pages that may be in use. Later pages of the file
	// were never part of a commit.
	Pages uint64
	// Transaction is the number of the surveyed transaction.
	Transaction uint64
	// Newest says that the surveyed transaction is the last commit. If it is
	// not, a meta page is damaged or outdated, the survey describes an older
	// commit or none, and no page counts as free.
	Newest bool
	// Foreign says that the file has no trace of bbolt's meta pages: either
	// another program wrote the file, or both pages are lost.
	Foreign bool
	// Listed says that the list of free pages was readable. Then every Unknown
	// page is below a page that could not be read.
	Listed bool
	// Conflict says that pages contradict each other, though each may be sound
	// by itself. One of them is outdated or leads to a wrong place.
	Conflict bool
	// Damages are all damages found, in no particular order.
	Damages []*DamageError

	usage []Usage
	// lost has the unreadable parts of each top-level bucket, in order and
	// without overlap.
	lost map[string][]bounds
}

// Usage returns what a page is used for.
func (s *Survey) Usage(page uint64) Usage {
	if page >= uint64(len(s.usage)) {
		return Unknown
	}
	return s.usage[page]
}

// Lost reports whether a key of a top-level bucket may be in an unreadable
// part. If Lost is false and the key was not visited, the bucket has no such
// key.
//
// The branches of a tree give the range of keys on each page below them, so the
// range of a lost page is known. A loss in a nested bucket counts as a loss in
// the top-level bucket. So Lost may err towards true, never towards false.
func (s *Survey) Lost(bucket string, key []byte) bool {
	_, found := slices.BinarySearchFunc(s.lost[bucket], key, func(part bounds, key []byte) int {
		switch {
		case bytes.Compare(key, part.min) < 0:
			return 1
		case part.max != nil && bytes.Compare(key, part.max) >= 0:
			return -1
		}
		return 0
	})
	return found || !s.found(bucket)
}

// Whole reports whether the whole of a top-level bucket was visited.
func (s *Survey) Whole(bucket string) bool {
	return s.found(bucket) && len(s.lost[bucket]) == 0
}

func (s *Survey) found(bucket string) bool {
	_, found := s.lost[bucket]
	return found && s.Newest
}

// Number returns the page number in a page's header, of which it needs the
// first eight bytes.
func Number(page []byte) uint64 { return order.Uint64(page) }

// HeaderSize is the size of a page's header in bytes.
const HeaderSize = headerSize

// More returns the number of overflow pages in a page's header.
func More(header []byte) uint32 { return order.Uint32(header[12:]) }

// Explore reads as much as possible of a file of size bytes that may be
// damaged. It calls visit for every sound key that the newest valid meta page
// leads to, with the value and the number of the page. The keys of a nested
// bucket are visited as keys of the top-level bucket. The slices are only valid
// during the call.
//
// Explore never fails: [Survey.Damages] lists all that it could not read, I/O
// errors included.
func Explore(r io.ReaderAt, size int64, visit func(page uint64, bucket string, key, value []byte)) *Survey {
	e := &explorer{
		survey: &Survey{PageSize: uint64(os.Getpagesize()), lost: make(map[string][]bounds)},
		visit:  visit,
		checker: checker{
			r:    r,
			size: size,
		},
	}
	m, ok := e.metas()
	if !ok {
		e.guessPageSize()
		e.survey.Pages = e.fit()
		return e.survey
	}
	e.survey.PageSize = m.pageSize
	e.survey.Transaction = m.tx
	e.survey.Pages = min(m.pages, e.fit())
	if m.pages > uint64(size)/m.pageSize { // a part of the last page is not enough
		e.mention(damage(NoPage, "the file is cut short: it has %d bytes and should have %d pages of %d bytes", size, m.pages, m.pageSize), "")
	}
	if !e.survey.Newest {
		e.survey.Pages = e.fit() // the last commit may have used more pages
	}
	e.meta = m
	e.used = newPageSet(e.survey.Pages)
	e.survey.usage = make([]Usage, e.survey.Pages)
	for i := range min(2, e.survey.Pages) {
		e.use(i, InUse)
	}
	e.tree(m.root, bounds{}, "", 0)
	for bucket, parts := range e.survey.lost {
		e.survey.lost[bucket] = join(parts)
	}
	if e.survey.Newest && m.freelist != noFreelist {
		e.freelist()
	}
	return e.survey
}

// fit returns the number of pages in the file, a partial last page included.
func (e *explorer) fit() uint64 {
	return (uint64(e.size) + e.survey.PageSize - 1) / e.survey.PageSize
}

// guessPageSize infers the page size from the page numbers in the file. Only
// with the right size does each page have its own number at its start.
func (e *explorer) guessPageSize() {
	const enough = 1000 // pages to look at
	most := 0
	for size := uint64(minPageSize); size <= maxPageSize; size *= 2 {
		right := 0
		for number := uint64(2); number < enough && number*size < uint64(e.size); number++ {
			var b [8]byte
			if readAt(e.r, b[:], e.size, number*size) == nil && order.Uint64(b[:]) == number {
				right++
			}
		}
		if right > most {
			most, e.survey.PageSize = right, size
		}
	}
}

// explorer walks the pages of a file and continues after damage.
type explorer struct {
	checker
	survey *Survey
	visit  func(page uint64, bucket string, key, value []byte)
}

// lose records a damage that makes a part of a bucket unreadable. An empty name
// stands for the root bucket: the buckets lost with it are unknown.
func (e *explorer) lose(err error, bucket string, part bounds) {
	d := e.mention(err, bucket)
	if bucket != "" {
		d.Reason += "; the lost keys are among " + part.String()
		e.survey.lost[bucket] = append(e.survey.lost[bucket], bounds{bytes.Clone(part.min), bytes.Clone(part.max)})
	}
}

// join sorts parts and merges those that overlap or touch.
func join(parts []bounds) []bounds {
	slices.SortFunc(parts, func(a, b bounds) int { return bytes.Compare(a.min, b.min) })
	joined := parts[:0]
	for _, part := range parts {
		switch last := len(joined) - 1; {
		case last < 0 || joined[last].max != nil && bytes.Compare(part.min, joined[last].max) > 0:
			joined = append(joined, part)
		case part.max == nil || joined[last].max != nil && bytes.Compare(part.max, joined[last].max) > 0:
			joined[last].max = part.max
		}
	}
	return joined
}

// mention records a damage.
func (e *explorer) mention(err error, bucket string) *DamageError {
	d := (*DamageError)(nil)
	if !errors.As(err, &d) {
		d = &DamageError{Page: NoPage, Reason: fmt.Sprintf("cannot be read: %v", err)}
	}
	if d.Bucket == "" {
		d.Bucket = bucket
	}
	e.survey.Conflict = e.survey.Conflict || d.misfit
	e.survey.Damages = append(e.survey.Damages, d)
	return d
}

func (e *explorer) use(page uint64, as Usage) {
	e.used.add(page)
	e.survey.usage[page] = as
}

// metas returns the newest valid meta page, if there is one.
func (e *explorer) metas() (m meta, ok bool) {
	read := func(number, at uint64) (meta, error) {
		var b [headerSize + metaSize]byte
		if err := readAt(e.r, b[:], e.size, at); err != nil {
			return meta{}, err
		}
		m, err := parseMeta(b[:], number)
		if err == nil && number == 1 && m.pageSize != at {
			err = damage(number, "meta page with a page size of %d at %d", m.pageSize, at)
		}
		return m, err
	}
	first, err0 := read(0, 0)
	pageSize := first.pageSize
	if err0 != nil {
		e.mention(err0, "")
		// A valid second meta page has the page size at which it is found.
		for pageSize = minPageSize; pageSize <= maxPageSize; pageSize *= 2 {
			if _, err := read(1, pageSize); err == nil {
				break
			}
		}
		if pageSize > maxPageSize {
			pageSize = e.survey.PageSize
		}
	}
	second, err1 := read(1, pageSize)
	if err1 != nil {
		e.mention(err1, "")
	}
	switch {
	case err0 != nil && err1 != nil:
		if e.survey.Foreign = !hasMagic(e.r, e.size); e.survey.Foreign {
			e.survey.Damages = nil
			e.mention(damage(NoPage, "%v", ErrNotBbolt), "")
		}
		return meta{}, false
	case err0 != nil:
		return second, true
	case err1 != nil:
		return first, true
	}
	m, err := newer([2]meta{first, second})
	e.survey.Newest = err == nil
	if err != nil {
		e.mention(err, "")
	}
	return m, true
}

// page reads a page that another page leads to, and marks the page and its
// overflow pages. With an error, the page has only its readable part, or no
// body.
func (e *explorer) page(number uint64) (page, error) {
	switch {
	case number < 2 || number >= e.survey.Pages:
		return page{}, damage(number, "another page leads to it, but the file has only pages 2 to %d", e.survey.Pages-1)
	case e.used.has(number):
		return page{}, misfit(number, "it is used twice")
	}
	e.use(number, Misplaced) // until its number is known to be right
	body := make([]byte, e.meta.pageSize)
	if err := readAt(e.r, body, e.size, number*e.meta.pageSize); err != nil {
		return page{}, damage(number, "it cannot be read: %v", err)
	}
	if id := order.Uint64(body); id != number {
		return page{}, damage(number, "its header has the number of page %d", id)
	}
	e.use(number, InUse)
	var err error
	for more := uint64(order.Uint32(body[12:])); more > 0 && err == nil; more-- {
		if next := number + uint64(len(body))/e.meta.pageSize; next >= e.survey.Pages || e.used.has(next) {
			err = misfit(number, "its header claims %d more overflow pages than it can have", more)
		} else if failed := e.extend(&body, next); failed != nil {
			err = damage(next, "it cannot be read: %v", failed)
		}
	}
	return page{number: number, flags: order.Uint16(body[8:]), count: int(order.Uint16(body[10:])), body: body}, err
}

// extend appends page next to body.
func (e *explorer) extend(body *[]byte, next uint64) error {
	e.use(next, InUse)
	n := len(*body)
	*body = append(*body, make([]byte, e.meta.pageSize)...)
	return readAt(e.r, (*body)[n:], e.size, next*e.meta.pageSize)
}

// freelist marks the free pages, if their list is sound. It runs after tree,
// because the tree is more reliable.
func (e *explorer) freelist() {
	p, err := e.page(e.meta.freelist)
	if err != nil {
		e.mention(err, "")
		return
	}
	ids, err := freePages(p, e.meta.pages)
	if err != nil {
		e.mention(err, "")
		return
	}
	if n := slices.IndexFunc(ids, func(id uint64) bool { return id >= e.survey.Pages }); n >= 0 {
		ids = ids[:n] // the rest was cut off
	}
	for _, id := range ids {
		if e.used.has(id) {
			e.mention(misfit(id, "it is in the list of free pages and also in use"), "")
			return
		}
	}
	e.survey.Listed = true
	for _, id := range ids {
		e.use(id, Free)
	}
	if len(e.survey.Damages) > 0 {
		return
	}
	var unknown []uint64
	for number := range e.survey.Pages {
		if !e.used.has(number) {
			unknown = append(unknown, number)
		}
	}
	if len(unknown) > 0 {
		e.mention(misfit(unknown[0], "it is neither in use nor in the list of free pages, and so are %d other pages", len(unknown)-1), "")
	}
}

// tree visits the readable keys of a bucket, from a page downwards.
func (e *explorer) tree(number uint64, within bounds, bucket string, depth int) {
	if depth > maxDepth {
		e.lose(damage(number, "the tree is more than %d pages deep", maxDepth), bucket, within)
		return
	}
	p, err := e.page(number)
	if err != nil {
		e.lose(err, bucket, within)
	}
	if p.body == nil {
		return
	}
	if err := p.inTree(within); err != nil {
		e.lose(err, bucket, within)
		if p.flags != leafPage && p.flags != branchPage {
			return
		}
	}
	elements, err := parse(p, within)
	if err != nil {
		e.lose(err, bucket, within)
	}
	for i, element := range elements {
		switch {
		case p.flags == branchPage:
			below := bounds{min: element.key, max: within.max}
			if i+1 < len(elements) {
				below.max = elements[i+1].key
			}
			e.tree(element.child, below, bucket, depth+1)
		case element.bucket && bucket == "":
			name := string(element.key)
			e.survey.lost[name] = nil
			e.bucket(number, element.value, name, bounds{}, depth+1)
		case element.bucket:
			e.bucket(number, element.value, bucket, within, depth+1)
		case bucket == "":
			e.lose(damage(number, "a key outside of all buckets: %.40q", element.key), "", within)
		default:
			e.visit(number, bucket, element.key, element.value)
		}
	}
}

// bucket visits the bucket whose header is value. If the bucket is nested, part
// is its place in the top-level bucket.
func (e *explorer) bucket(number uint64, value []byte, bucket string, part bounds, depth int) {
	root, inline, err := parseBucket(number, value)
	if err != nil {
		e.lose(err, bucket, part)
		return
	}
	if root != 0 {
		e.tree(root, bounds{}, bucket, depth)
		return
	}
	elements, err := parse(inline, bounds{})
	if err != nil {
		e.lose(err, bucket, part)
	}
	for _, element := range elements {
		if element.bucket {
			e.lose(damage(number, "an inline bucket contains another bucket"), bucket, part)
			continue
		}
		e.visit(number, bucket, element.key, element.value)
	}
}
