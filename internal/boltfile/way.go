package boltfile

import (
	"bytes"
	"sort"
)

// Way checks the pages of a mapped file that bbolt is about to follow. bbolt
// trusts its pages: a branch that leads back to itself causes endless
// recursion, and a page that claims billions of overflow pages exhausts the
// memory. A Way reads the same mapping as bbolt. It reads only the pages that a
// transaction uses, each one once.
//
// A Way promises nothing about other pages, nor about changes of the file
// between its check and bbolt's read. Only one goroutine at a time may use a
// Way.
type Way struct {
	mapped  []byte
	meta    meta
	top     wayPage // stands for the parent of the root bucket's page
	pages   map[uint64]*wayPage
	buckets map[string]*wayBucket // of the top level
}

// wayPage is a checked page of a tree, with the path to it.
type wayPage struct {
	page
	end    int // of the last element
	within bounds
	parent *wayPage
	index  int // of the element in the parent

	touched, bytes int  // number and size of the elements to be written or removed
	removes        bool // an element is to be removed
}

// wayBucket is a bucket.
type wayBucket struct {
	root  uint64   // 0: the bucket is inline, and was checked with its header
	above wayPage  // stands for the parent of the root page
	last  *wayPage // the leaf of the key that was checked last
}

// NewWay returns a Way through a mapped file, in the state that transaction tx
// left. The mapping must stay in place while the Way is used. Reading the
// mapping can fault if the file was truncated. A [*DamageError] is returned if
// no valid meta page is of the transaction.
func NewWay(mapped []byte, pageSize int, tx uint64) (*Way, error) {
	w := &Way{mapped: mapped, pages: make(map[uint64]*wayPage), buckets: make(map[string]*wayBucket)}
	for number := range 2 {
		at := number * pageSize
		if at+headerSize+metaSize > len(mapped) {
			return nil, damage(NoPage, "the file is cut short: %d bytes", len(mapped))
		}
		m, err := parseMeta(mapped[at:], uint64(number))
		if err != nil || m.tx != tx {
			continue
		}
		if m.pageSize != uint64(pageSize) || m.pages < 4 || m.pages > uint64(len(mapped)/pageSize) {
			return nil, damage(uint64(number), "meta page with %d pages of %d bytes", m.pages, m.pageSize)
		}
		w.meta = m
		return w, nil
	}
	return nil, damage(NoPage, "no meta page is of transaction %d any more", tx)
}

// NewReadWay returns a Way for a read transaction whose root bucket is on page
// root. The mapping ends with the last page in use. The Way reads no meta page,
// because later commits overwrite the meta pages while the reader runs.
func NewReadWay(mapped []byte, pageSize int, root uint64) (*Way, error) {
	m := meta{pageSize: uint64(pageSize), root: root, freelist: noFreelist, pages: uint64(len(mapped) / pageSize)}
	if m.pages < 4 {
		return nil, damage(NoPage, "the file is cut short: %d bytes", len(mapped))
	}
	return &Way{mapped: mapped, meta: m, pages: make(map[uint64]*wayPage), buckets: make(map[string]*wayBucket)}, nil
}

// overflow returns the number of a page's overflow pages.
func (w *Way) overflow(number uint64) (uint64, error) {
	if number < 2 || number >= w.meta.pages {
		return 0, damage(number, "another page leads to it, but the file has only pages 2 to %d", w.meta.pages-1)
	}
	header := w.mapped[number*w.meta.pageSize:]
	if id := order.Uint64(header); id != number {
		return 0, damage(number, "its header has the number of page %d", id)
	}
	overflow := uint64(order.Uint32(header[12:]))
	if overflow >= w.meta.pages-number {
		return 0, damage(number, "its header claims %d overflow pages, but fewer pages follow", overflow)
	}
	return overflow, nil
}

// read returns a page. The body is a part of the mapping.
func (w *Way) read(number uint64) (page, error) {
	overflow, err := w.overflow(number)
	if err != nil {
		return page{}, err
	}
	body := w.mapped[number*w.meta.pageSize : (number+overflow+1)*w.meta.pageSize]
	return page{number: number, flags: order.Uint16(body[8:]), count: int(order.Uint16(body[10:])), body: body}, nil
}

// readTree returns a page of a tree and checks all its elements. It also checks
// that the page has no more overflow pages than its elements need, because
// bbolt frees all overflow pages when it rewrites the page.
func (w *Way) readTree(number uint64, within bounds) (p page, end int, err error) {
	if p, err = w.read(number); err != nil {
		return p, 0, err
	}
	if err := p.inTree(within); err != nil {
		return p, 0, err
	}
	if end, err = p.checkElements(within); err != nil {
		return p, 0, err
	}
	if need := (uint64(end) + w.meta.pageSize - 1) / w.meta.pageSize; need*w.meta.pageSize != uint64(len(p.body)) {
		return p, 0, damage(number, "its header claims %d overflow pages, but its elements have %d bytes", uint64(len(p.body))/w.meta.pageSize-1, end)
	}
	return p, end, nil
}

// checkElements does the checks of parse without allocating elements. It
// returns the offset where the last element ends.
func (p page) checkElements(within bounds) (end int, err error) {
	if end, err = p.elementsEnd(); err != nil {
		return 0, err
	}
	var previous []byte
	for i := range p.count {
		e, err := p.element(i, end, previous, within)
		if err != nil {
			return 0, err
		}
		previous = e.key
		end += len(e.key) + len(e.value)
	}
	return end, nil
}

// at returns element i of a page whose elements were checked.
func (p page) at(i int) (e element) {
	at := headerSize + i*elementSize
	b := p.body[at:]
	if p.flags == branchPage {
		key := at + int(order.Uint32(b))
		return element{key: p.body[key : key+int(order.Uint32(b[4:]))], child: order.Uint64(b[8:])}
	}
	key := at + int(order.Uint32(b[4:]))
	value := key + int(order.Uint32(b[8:]))
	return element{key: p.body[key:value], value: p.body[value : value+int(order.Uint32(b[12:]))], bucket: order.Uint32(b) == bucketElement}
}

// visit returns the page that element index of parent leads to, and checks the
// page at the first visit.
func (w *Way) visit(number uint64, within bounds, parent *wayPage, index int) (*wayPage, error) {
	if known, ok := w.pages[number]; ok {
		if known.parent != parent || known.index != index {
			return nil, damage(number, "it is used twice")
		}
		return known, nil
	}
	p, end, err := w.readTree(number, within)
	if err != nil {
		return nil, err
	}
	visited := &wayPage{page: p, end: end, within: within, parent: parent, index: index}
	w.pages[number] = visited
	return visited, nil
}

// child returns the page that an element of a branch leads to.
func (w *Way) child(p *wayPage, index int) (*wayPage, error) {
	return w.visit(p.at(index).child, p.below(p.within, index), p, index)
}

// below returns the bounds of the page that element index of a branch leads to.
// The branch itself is within the given bounds.
func (p page) below(within bounds, index int) bounds {
	below := bounds{min: p.at(index).key, max: within.max}
	if index+1 < p.count {
		below.max = p.at(index + 1).key
	}
	return below
}

// find returns the index of the last element whose key is not greater than key,
// or 0.
func (p page) find(key []byte) int {
	after := sort.Search(p.count, func(i int) bool { return bytes.Compare(p.at(i).key, key) > 0 })
	return max(0, after-1)
}

func (p *wayPage) branch() bool { return p != nil && p.flags == branchPage }

// Bucket checks the path to a top-level bucket, or to the place where it would
// be, and the bucket's header. It must be called before the other methods are
// called for the bucket. A [*DamageError] is returned for the first damage, by
// the other methods too.
func (w *Way) Bucket(name string) error {
	leaf, err := w.descend(w.meta.root, &w.top, []byte(name), false)
	if err != nil {
		return err
	}
	i := leaf.find([]byte(name))
	if i >= leaf.count || string(leaf.at(i).key) != name || !leaf.at(i).bucket {
		return nil
	}
	root, inline, err := parseBucket(leaf.number, leaf.at(i).value)
	if err == nil && root == 0 {
		_, err = inline.checkElements(bounds{})
	}
	w.buckets[name] = &wayBucket{root: root}
	return inBucket(err, name)
}

// Use says what bbolt will do with a key.
type Use uint8

// The uses of a key.
const (
	Insert  Use = iota // add a key that is not there
	Replace            // replace or read the value
	Remove             // delete the key
)

// Key checks the path to a key of a top-level bucket, or to the place where the
// key would be. If so much of a page is to be removed that bbolt may merge the
// page with a neighbour, Key also checks the neighbours on all levels. Keys in
// ascending order are the fastest.
func (w *Way) Key(bucket string, key []byte, use Use) error {
	b, ok := w.buckets[bucket]
	if !ok || b.root == 0 {
		return nil
	}
	leaf := b.last
	if leaf == nil || !leaf.within.has(key) {
		var err error
		if leaf, err = w.descend(b.root, &b.above, key, false); err != nil {
			return inBucket(err, bucket)
		}
		b.last = leaf
	}
	if use == Insert {
		return nil
	}
	leaf.removes = leaf.removes || use == Remove
	if i := leaf.find(key); i < leaf.count && bytes.Equal(leaf.at(i).key, key) {
		leaf.touched++
		leaf.bytes += elementSize + len(key) + len(leaf.at(i).value)
	}
	// After a removal, bbolt merges a page that has at most one element left,
	// or is less than half as full as a new page. Elements that are to be
	// written are counted as removed, to be safe.
	if leaf.removes && (leaf.count-leaf.touched <= 1 || uint64(leaf.end-leaf.bytes) <= w.meta.pageSize/2) {
		_, err := w.descend(b.root, &b.above, key, true)
		return inBucket(err, bucket)
	}
	return nil
}

// Last checks the path to the last key of a top-level bucket.
func (w *Way) Last(bucket string) error {
	b, ok := w.buckets[bucket]
	if !ok || b.root == 0 {
		return nil
	}
	p, err := w.visit(b.root, bounds{}, &b.above, 0)
	for err == nil && p.branch() {
		p, err = w.child(p, p.count-1)
	}
	return inBucket(err, bucket)
}

// descend returns the leaf where a key belongs, and checks the path to the
// leaf. With neighbours, it also checks the pages beside the path.
func (w *Way) descend(root uint64, above *wayPage, key []byte, neighbours bool) (*wayPage, error) {
	p, err := w.visit(root, bounds{}, above, 0)
	var before, behind *wayPage // p's neighbours on its level
	for err == nil && p.branch() {
		i := p.find(key)
		if neighbours {
			if before, behind, err = w.neighbours(p, i, before, behind); err != nil {
				break
			}
		}
		p, err = w.child(p, i)
	}
	return p, err
}

// neighbours returns the pages before and behind the page that element index of
// p leads to. The pages before and behind p itself are given.
func (w *Way) neighbours(p *wayPage, index int, before, behind *wayPage) (left, right *wayPage, err error) {
	switch {
	case index > 0:
		left, err = w.child(p, index-1)
	case before.branch():
		left, err = w.child(before, before.count-1)
	}
	if err != nil {
		return nil, nil, err
	}
	switch {
	case index+1 < p.count:
		right, err = w.child(p, index+1)
	case behind.branch():
		right, err = w.child(behind, 0)
	}
	return left, right, err
}

// All checks all pages of a top-level bucket.
func (w *Way) All(bucket string) error {
	b, ok := w.buckets[bucket]
	if !ok || b.root == 0 {
		return nil
	}
	return inBucket(w.all(b.root, bounds{}, newPageSet(w.meta.pages), 0), bucket)
}

func (w *Way) all(number uint64, within bounds, used pageSet, depth int) error {
	if depth > maxDepth {
		return damage(number, "the tree is more than %d pages deep", maxDepth)
	}
	if number < w.meta.pages && used.has(number) {
		return damage(number, "it is used twice")
	}
	p, _, err := w.readTree(number, within)
	if err != nil {
		return err
	}
	for i := range uint64(len(p.body)) / w.meta.pageSize {
		if used.has(number + i) {
			return damage(number+i, "it is used twice")
		}
		used.add(number + i)
	}
	for i := range p.count {
		if p.flags == branchPage {
			err = w.all(p.at(i).child, p.below(within, i), used, depth+1)
		} else if p.at(i).bucket {
			err = damage(number, "a nested bucket")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// freelistLimit is the size in bytes up to which Freelist checks the entries of
// the list.
const freelistLimit = 16 << 10

// Freelist checks the list of free pages. bbolt reads the list again after a
// failed commit, and frees the list's pages at each commit. Of a long list,
// Freelist checks only the length, not the entries.
func (w *Way) Freelist() error {
	if w.meta.freelist == noFreelist {
		return nil
	}
	p, err := w.read(w.meta.freelist)
	if err != nil {
		return err
	}
	size := uint64(len(p.body))
	count := uint64(p.count)
	if p.count == 0xFFFF {
		count = order.Uint64(p.body[headerSize:])
	}
	pages := size / w.meta.pageSize
	// bbolt sizes the list before it allocates the list's own pages.
	most := (headerSize + 8 + 8*(count+pages)) / w.meta.pageSize
	switch {
	case p.flags != freelistPage:
		return damage(p.number, "it should be the list of free pages, but has type %#x", p.flags)
	case count > size/8:
		return damage(p.number, "the list of free pages claims %d entries, more than fit in it", count)
	case pages > most+1:
		return damage(p.number, "its header claims %d overflow pages, but the list has only %d entries", pages-1, count)
	case size > freelistLimit:
		return nil
	}
	_, err = freePages(p, w.meta.pages)
	return err
}
