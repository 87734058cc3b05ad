package boltfile

import (
	"errors"
	"hash/fnv"
	"io"
)

// meta is the content of a meta page.
type meta struct {
	pageSize uint64
	root     uint64 // page of the root bucket
	freelist uint64 // page of the free list, or noFreelist
	pages    uint64 // number of pages, free pages included
	tx       uint64 // transaction that wrote the meta page
}

// parseMeta parses the first bytes of meta page 0 or 1.
func parseMeta(b []byte, number uint64) (meta, error) {
	header, body := b[:headerSize], b[headerSize:headerSize+metaSize]
	switch m := order.Uint32(body); m {
	case magic:
	case magicSwapped:
		return meta{}, damage(number, "written on a machine with the other byte order")
	default:
		return meta{}, damage(number, "not a meta page of bbolt: it begins with %08x", m)
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
		return meta{}, damage(number, "meta page whose header has page number %d and type %#x", id, flags)
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

// readMetas returns both meta pages.
func readMetas(r io.ReaderAt, size int64) (metas [2]meta, err error) {
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

// Transactions returns the numbers of the transactions that wrote the two meta pages.
// Each commit writes one of them, after all its other pages and with a new number.
// So if Transactions is the same before and after a copy of the file, the copy has all
// pages of the last commit, whoever wrote meanwhile: a commit writes only pages that the
// commit before it doesn't use. The errors are those of [Check].
func Transactions(r io.ReaderAt, size int64) (numbers [2]uint64, err error) {
	metas, err := readMetas(r, size)
	return [2]uint64{metas[0].tx, metas[1].tx}, err
}

// newer returns the meta page of the later transaction. The error is set if
// bbolt never leaves these two meta pages together.
func newer(metas [2]meta) (meta, error) {
	first, second := metas[0].tx, metas[1].tx
	m := metas[0]
	if first < second {
		m = metas[1]
	}
	if !follows(first, second) {
		return m, damage(NoPage, "the meta pages are of transactions %d and %d, which bbolt never leaves together: a write was lost", first, second)
	}
	return m, nil
}

// follows reports whether bbolt can leave meta pages of these transactions on
// pages 0 and 1. bbolt begins with transactions 0 and 1 and writes transaction
// t on page t%2. So the two are one apart, and the even one is on page 0. But
// Tx.WriteTo writes t on page 0 of a copy and t-1 on page 1, whatever t is. If
// t is odd, the next commit writes t+1 on page 0 too, and t-1 stays on page 1;
// the commit after that restores the normal order.
//
// A pair that results from a lost write with a later write kept is never
// accepted: the two are further apart, or both are odd.
func follows(first, second uint64) bool {
	ahead := first > second
	apart := first - second
	if !ahead {
		apart = second - first
	}
	switch {
	case first%2 == 0 && second%2 == 1:
		return apart == 1
	case first%2 == 1 && second%2 == 0: // a copy of an odd transaction
		return apart == 1 && ahead
	case first%2 == 0: // such a copy after one commit
		return apart == 2 && ahead
	}
	return false
}

// hasMagic reports whether bbolt's magic number is in a place where a meta page
// may begin, for any page size and in either byte order. A place that can't be
// read counts as a yes.
func hasMagic(r io.ReaderAt, size int64) bool {
	at := func(page uint64) bool {
		if uint64(size) < page+headerSize+4 {
			return false
		}
		var b [4]byte
		n, err := r.ReadAt(b[:], int64(page+headerSize))
		if n < len(b) {
			return !errors.Is(err, io.EOF)
		}
		m := order.Uint32(b[:])
		return m == magic || m == magicSwapped
	}
	found := at(0)
	for page := uint64(minPageSize); page <= maxPageSize && !found; page *= 2 {
		found = at(page)
	}
	return found
}

// readAt fills b from the given offset. A file that ends too early is a
// [*DamageError].
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
