package boltfile

import (
	"bytes"
	"sort"
)

// Way looks at the pages of a mapped file that bbolt is about to follow. bbolt
// trusts what it reads: a branch that leads back to itself makes it call itself
// until the process dies, and a page that claims to be followed by billions of
// others fills the memory. A Way reads the mapping that bbolt reads, only what a
// transaction goes through, and each page once.
//
// It holds no promise on other pages, nor on what happens to the file between the
// look and bbolt's own.
type Way struct {
	mapped  []byte
	meta    meta
	top     wayPage // stands for what leads to the root of all buckets
	pages   map[uint64]*wayPage
	buckets map[string]*wayBucket // of the top level
}

// wayPage is a page of a tree that was looked at, and how it was come to.
type wayPage struct {
	page
	end    int // of the last element
	within bounds
	parent *wayPage
	index  int // in the parent

	touched, bytes int  // elements that are to be written or removed, and their size
	removes        bool // one of them is to be removed
}

// wayBucket is a bucket.
type wayBucket struct {
	root  uint64   // 0: the bucket is in its header, and was looked at with it
	above wayPage  // stands for what leads to the root
	last  *wayPage // the leaf of the last key
}

// NewWay returns a Way through the file that is mapped, as the transaction with the
// given number left it. The mapping must hold still while the Way is used. Reading
// it can fault if the file was cut short.
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

// NewReadWay returns a way through the pages that a reader sees, from the root
// bucket's page. The mapping ends with the last page in use. It needs no meta page:
// those that are written while the reader reads are not the reader's.
func NewReadWay(mapped []byte, pageSize int, root uint64) (*Way, error) {
	m := meta{pageSize: uint64(pageSize), root: root, freelist: noFreelist, pages: uint64(len(mapped) / pageSize)}
	if m.pages < 4 {
		return nil, damage(NoPage, "the file is cut short: %d bytes", len(mapped))
	}
	return &Way{mapped: mapped, meta: m, pages: make(map[uint64]*wayPage), buckets: make(map[string]*wayBucket)}, nil
}

// overflow returns the pages behind a page that belong to it.
func (w *Way) overflow(number uint64) (uint64, error) {
	if number < 2 || number >= w.meta.pages {
		return 0, damage(number, "no such page, but another leads to it: there are pages 2 to %d", w.meta.pages-1)
	}
	header := w.mapped[number*w.meta.pageSize:]
	if id := order.Uint64(header); id != number {
		return 0, damage(number, "what stands there says that it is page %d", id)
	}
	overflow := uint64(order.Uint32(header[12:]))
	if overflow >= w.meta.pages-number {
		return 0, damage(number, "it says that %d pages belong to it, more than there are behind it", overflow)
	}
	return overflow, nil
}

// read returns a page. Its body is the mapping.
func (w *Way) read(number uint64) (page, error) {
	overflow, err := w.overflow(number)
	if err != nil {
		return page{}, err
	}
	body := w.mapped[number*w.meta.pageSize : (number+overflow+1)*w.meta.pageSize]
	return page{number: number, flags: order.Uint16(body[8:]), count: int(order.Uint16(body[10:])), body: body}, nil
}

// readTree returns a page of a tree whose elements are all sound. The pages behind
// it are as many as its elements need: bbolt takes them all for free when it has
// written the page anew.
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
		return p, 0, damage(number, "it says that %d pages belong to it, but it has %d bytes", uint64(len(p.body))/w.meta.pageSize-1, end)
	}
	return p, end, nil
}

// checkElements does what parse does, without memory for the elements, and returns
// where the last one ends.
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

// at returns an element of a page whose elements are sound.
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

// visit returns a page of a tree to which an element of its parent leads.
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

// child returns the page to which an element of a branch leads.
func (w *Way) child(p *wayPage, index int) (*wayPage, error) {
	return w.visit(p.at(index).child, p.below(p.within, index), p, index)
}

// below are the bounds of the page to which an element of a branch leads that is
// within bounds itself.
func (p page) below(within bounds, index int) bounds {
	below := bounds{min: p.at(index).key, max: within.max}
	if index+1 < p.count {
		below.max = p.at(index + 1).key
	}
	return below
}

// find returns the index of the element of a page that has the key, or of the one
// before it if there is any.
func (p page) find(key []byte) int {
	after := sort.Search(p.count, func(i int) bool { return bytes.Compare(p.at(i).key, key) > 0 })
	return max(0, after-1)
}

func (p *wayPage) branch() bool { return p != nil && p.flags == branchPage }

// Bucket looks at the way to a bucket of the top level and at its header, or to
// where it would be. The other methods want it to be looked at before.
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

// Use is what is to be done with a key.
type Use uint8

// The uses of a key.
const (
	Insert  Use = iota // it is not there
	Replace            // or read
	Remove
)

// Key looks at the way to a key of a bucket of the top level, or to where it would
// be. If so much of a page is to be removed that bbolt may join it with another, it
// looks at the pages before and behind, too, on all levels. Keys in order are
// cheaper than others.
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
	// bbolt joins a page that it has removed something of, and that is then less
	// than half as full as it makes new ones, or has one element. What is to be
	// written counts as if it were nothing.
	if leaf.removes && (leaf.count-leaf.touched <= 1 || uint64(leaf.end-leaf.bytes) <= w.meta.pageSize/2) {
		_, err := w.descend(b.root, &b.above, key, true)
		return inBucket(err, bucket)
	}
	return nil
}

// Last looks at the way to the last key of a bucket of the top level.
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

// descend returns the leaf of a tree that a key belongs on.
func (w *Way) descend(root uint64, above *wayPage, key []byte, neighbours bool) (*wayPage, error) {
	p, err := w.visit(root, bounds{}, above, 0)
	var before, behind *wayPage // on p's level
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

// neighbours returns the pages before and behind that to which an element of p
// leads, given those before and behind p.
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

// All looks at all pages of a bucket of the top level.
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
			err = damage(number, "a bucket within the bucket")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// freelistLimit is the size up to which the entries of a list of free pages are
// looked at, in bytes.
const freelistLimit = 16 << 10

// Freelist looks at the list of free pages. bbolt reads it again when a commit
// fails, and the pages that it stands on are free after each commit. Of a long
// list only the length is looked at, not the entries.
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
	// bbolt makes room for as many free pages as there are before it takes those
	// for the list itself.
	most := (headerSize + 8 + 8*(count+pages)) / w.meta.pageSize
	switch {
	case p.flags != freelistPage:
		return damage(p.number, "it should be the list of free pages, but is of type %#x", p.flags)
	case count > size/8:
		return damage(p.number, "the list of free pages says it has %d, more than fit in it", count)
	case pages > most+1:
		return damage(p.number, "it says that %d pages belong to it, but it has %d free pages only", pages-1, count)
	case size > freelistLimit:
		return nil
	}
	_, err = freePages(p, w.meta.pages)
	return err
}
