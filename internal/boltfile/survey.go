package boltfile

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Usage is what a page is used for, as far as a [Survey] could tell.
type Usage uint8

// The usages of a page.
const (
	// Unknown: nothing that could be read leads to the page, and it is not in
	// a list of free pages that could be read either.
	Unknown Usage = iota
	// InUse: the page is part of a bucket or of the list of free pages.
	InUse
	// Misplaced: the page is in use, but what stands there was written as
	// another page, or the number in it is damaged.
	Misplaced
	// Free: the page is in the list of free pages. What it has is outdated.
	Free
)

// Survey is what can be told of the pages of a file that may be damaged.
type Survey struct {
	// PageSize is the size of a page in bytes. It is the system's if no meta
	// page tells.
	PageSize uint64
	// Pages is the number of pages that may be in use. Those of the file
	// beyond it were never part of a commit.
	Pages uint64
	// Transaction is the number of the transaction whose state was surveyed.
	Transaction uint64
	// Newest says that the survey is that of the last commit. If not, a meta
	// page is damaged or outdated, and the survey is that of an older commit,
	// or of none; no page counts as free then.
	Newest bool
	// Damages are all that were found, in no order.
	Damages []*DamageError

	usage []Usage
	lost  map[string]bool // buckets of which something could not be read
}

// Usage returns what a page is used for.
func (s *Survey) Usage(page uint64) Usage {
	if page >= uint64(len(s.usage)) {
		return Unknown
	}
	return s.usage[page]
}

// Damaged reports whether damage was found in a top-level bucket or on the way
// to it, so that not all of it was visited.
func (s *Survey) Damaged(bucket string) bool {
	return s.lost[""] || s.lost[bucket]
}

// Number returns the number that a page says it has, given its first eight bytes.
func Number(page []byte) uint64 { return order.Uint64(page) }

// Explore reads what can be read of a file that may be damaged, and calls visit
// for every sound key and value that it gets to from the newest meta page that
// is valid. The slices are only valid during the call. What it could not read is
// in [Survey.Damages], I/O errors included.
func Explore(r io.ReaderAt, size int64, visit func(bucket string, key, value []byte)) *Survey {
	e := &explorer{
		survey: &Survey{PageSize: uint64(os.Getpagesize()), lost: make(map[string]bool)},
		visit:  visit,
		checker: checker{
			r:    r,
			size: size,
		},
	}
	m, ok := e.metas()
	if !ok {
		e.survey.Pages = e.fit()
		return e.survey
	}
	e.survey.PageSize = m.pageSize
	e.survey.Transaction = m.tx
	e.survey.Pages = min(m.pages, e.fit())
	if m.pages > e.survey.Pages {
		e.note(damage(NoPage, "the file is cut short: it has %d bytes and should have %d pages of %d bytes", size, m.pages, m.pageSize), "")
	}
	if !e.survey.Newest {
		e.survey.Pages = e.fit() // the last commit may have used more
	}
	m.pages = e.survey.Pages
	e.meta = m
	e.used = newPageSet(m.pages)
	e.survey.usage = make([]Usage, m.pages)
	for i := range min(2, m.pages) {
		e.use(i, InUse)
	}
	e.tree(m.root, bounds{}, "", 0)
	if e.survey.Newest && m.freelist != noFreelist {
		e.freelist()
	}
	return e.survey
}

// fit is the number of pages that the file has, the last one perhaps in part.
func (e *explorer) fit() uint64 {
	return (uint64(e.size) + e.survey.PageSize - 1) / e.survey.PageSize
}

// explorer walks the pages of a file and goes on after damage.
type explorer struct {
	checker
	survey *Survey
	visit  func(bucket string, key, value []byte)
}

// note adds a damage for which a part of a bucket, or of all if it has no name,
// can't be visited.
func (e *explorer) note(err error, bucket string) {
	e.survey.lost[bucket] = true
	e.mention(err, bucket)
}

// mention adds a damage.
func (e *explorer) mention(err error, bucket string) {
	d := (*DamageError)(nil)
	if !errors.As(err, &d) {
		d = &DamageError{Page: NoPage, Reason: fmt.Sprintf("cannot be read: %v", err)}
	}
	if d.Bucket == "" {
		d.Bucket = bucket
	}
	e.survey.Damages = append(e.survey.Damages, d)
}

func (e *explorer) use(page uint64, as Usage) {
	e.used.add(page)
	e.survey.usage[page] = as
}

// metas returns the newest valid meta page, if there is any.
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
		e.note(err0, "")
		// The second one says where it stands.
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
		e.note(err1, "")
	}
	switch {
	case err0 != nil && err1 != nil:
		return meta{}, false
	case err0 != nil:
		return second, true
	case err1 != nil:
		return first, true
	}
	older, newer := first, second
	if first.tx >= second.tx {
		older, newer = second, first
	}
	e.survey.Newest = newer.tx-older.tx == 1
	if !e.survey.Newest {
		e.note(damage(NoPage, "the meta pages are of transactions %d and %d, not of two that follow each other: a write was lost", older.tx, newer.tx), "")
	}
	return newer, true
}

// page reads a page that another leads to, and marks it and those behind it.
func (e *explorer) page(number uint64, bucket string, note func(error, string)) (p page, ok bool) {
	switch {
	case number < 2 || number >= e.meta.pages:
		note(damage(number, "no such page, but another leads to it: there are pages 2 to %d", e.meta.pages-1), bucket)
		return page{}, false
	case e.used.has(number):
		note(damage(number, "it is used twice"), bucket)
		return page{}, false
	}
	e.use(number, Misplaced) // unless it says that it is in its place
	body := make([]byte, e.meta.pageSize)
	if err := readAt(e.r, body, e.size, number*e.meta.pageSize); err != nil {
		note(damage(number, "it cannot be read: %v", err), bucket)
		return page{}, false
	}
	if id := order.Uint64(body); id != number {
		note(damage(number, "it says it is page %d", id), bucket)
		return page{}, false
	}
	e.use(number, InUse)
	for more := uint64(order.Uint32(body[12:])); more > 0; more-- {
		if next := number + uint64(len(body))/e.meta.pageSize; next >= e.meta.pages || e.used.has(next) {
			note(damage(number, "it says that %d pages more belong to it than can", more), bucket)
			break
		} else if err := e.extend(&body, next); err != nil {
			note(damage(next, "it cannot be read: %v", err), bucket)
			break
		}
	}
	return page{number: number, flags: order.Uint16(body[8:]), count: int(order.Uint16(body[10:])), body: body}, true
}

// extend adds to body the page that stands behind it.
func (e *explorer) extend(body *[]byte, next uint64) error {
	e.use(next, InUse)
	n := len(*body)
	*body = append(*body, make([]byte, e.meta.pageSize)...)
	return readAt(e.r, (*body)[n:], e.size, next*e.meta.pageSize)
}

// freelist marks the free pages, if the list of them is sound. It comes after the
// tree, which is the more reliable witness.
func (e *explorer) freelist() {
	p, ok := e.page(e.meta.freelist, "", e.mention)
	if !ok {
		return
	}
	ids, err := freePages(p, e.meta.pages)
	if err != nil {
		e.mention(err, "")
		return
	}
	for _, id := range ids {
		if e.used.has(id) {
			e.mention(damage(id, "it is in the list of free pages, but used"), "")
			return
		}
	}
	for _, id := range ids {
		e.use(id, Free)
	}
	if len(e.survey.Damages) > 0 {
		return
	}
	for number := range e.meta.pages {
		if !e.used.has(number) {
			e.mention(damage(number, "it is neither in use nor in the list of free pages"), "")
		}
	}
}

// tree visits what can be read of a bucket, from a page down.
func (e *explorer) tree(number uint64, within bounds, bucket string, depth int) {
	if depth > maxDepth {
		e.note(damage(number, "the tree is more than %d pages deep", maxDepth), bucket)
		return
	}
	p, ok := e.page(number, bucket, e.note)
	if !ok {
		return
	}
	if err := p.inTree(within); err != nil {
		e.note(err, bucket)
		if p.flags != leafPage && p.flags != branchPage {
			return
		}
	}
	elements, err := parse(p, within)
	if err != nil {
		e.note(err, bucket)
	}
	for i, element := range elements {
		switch {
		case p.flags == branchPage:
			below := bounds{min: element.key, max: within.max}
			if i+1 < len(elements) {
				below.max = elements[i+1].key
			}
			e.tree(element.child, below, bucket, depth+1)
		case element.bucket:
			name := bucket
			if name == "" {
				name = string(element.key)
			}
			e.bucket(number, element.value, name, depth+1)
		case bucket == "":
			e.note(damage(number, "a key beside the buckets: %.40q", element.key), "")
		default:
			e.visit(bucket, element.key, element.value)
		}
	}
}

// bucket visits the bucket whose header is an element's value.
func (e *explorer) bucket(number uint64, value []byte, bucket string, depth int) {
	root, inline, err := parseBucket(number, value)
	if err != nil {
		e.note(err, bucket)
		return
	}
	if root != 0 {
		e.tree(root, bounds{}, bucket, depth)
		return
	}
	elements, err := parse(inline, bounds{})
	if err != nil {
		e.note(err, bucket)
	}
	for _, element := range elements {
		if element.bucket {
			e.note(damage(number, "a bucket within a bucket that has no page of its own"), bucket)
			continue
		}
		e.visit(bucket, element.key, element.value)
	}
}
