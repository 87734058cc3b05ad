package salvage

import (
	"bytes"
	"cmp"
	"errors"
	"io"

	"github.com/customstatus/customstatus/internal/bolt"
	"github.com/customstatus/customstatus/internal/boltfile"
)

// trust says where a record was found, from the most to the least reliable
// place.
type trust int

const (
	reached trust = iota // the last commit leads to the record
	severed              // on a page of the last commit that is only partly readable
	orphan               // on a page that nothing leads to and that may not be free
	stray                // on a page that is not where it was written
	freed                // on a free page
	beyond               // on a page beyond the last commit's pages
)

// doubt returns the reason why a record is doubtful.
func (t trust) doubt() string {
	why := [...]string{
		severed: "nothing leads to its record, though the page is in use",
		orphan:  "nothing leads to its page",
		stray:   "its page is out of place",
		freed:   "its page is free, but there is no other record of the status",
		beyond:  "its page is beyond the pages in use, but there is no other record of the status",
	}
	return why[t] + "; the last commit may have a newer version or have deleted the status"
}

// used reports whether the record's page may be part of the last commit. bbolt
// writes a changed page to a new place; the old place becomes a free page that
// still has most of the records. Pages beyond those in use are from a commit
// that was never finished.
func (t trust) used() bool { return t < freed }

// beats reports whether f is a better choice than other for the same id. A
// record on an unused page counts only if there is no other.
func (f find) beats(other find) bool {
	if f.trust.used() != other.trust.used() || !f.trust.used() && f.trust != other.trust {
		return f.trust < other.trust
	}
	return cmp.Or(cmp.Compare(f.record.Revision, other.record.Revision), cmp.Compare(other.trust, f.trust)) > 0
}

const (
	scanStep = 1 << 20
	// Most records of a catalog are no larger. The effort for larger ones is
	// limited, because a damaged file can have what looks like the start of a
	// large record at every other byte.
	usualRecord = 1 << 10
)

// scan searches the whole file for records, byte by byte.
func (s *salvor) scan() {
	effort := 4*s.size + 64<<20
	window := make([]byte, min(scanStep+bolt.MaxRecordBytes, s.size))
	var (
		page  uint64 // page of the previous record
		level trust  // trust in that page
	)
	for start := int64(0); start < s.size; start += scanStep {
		b := window[:min(scanStep+bolt.MaxRecordBytes, s.size-start)]
		s.read(b, start)
		for at := 0; at < min(scanStep, len(b)); {
			i := bytes.IndexByte(b[at:min(scanStep, len(b))], bolt.RecordMagic)
			if i < 0 {
				break
			}
			at += i
			length, err := bolt.RecordLength(b[at:])
			if err != nil || length > usualRecord && effort < 0 {
				at++
				continue
			}
			record, tag, sum, n, err := bolt.ScanRecord(b[at:])
			if err != nil {
				if length > usualRecord {
					effort -= int64(length)
				}
				at++
				continue
			}
			known, ok := s.reached[record.ID]
			if tag == s.tag && !(ok && known.sum == sum) {
				if p := uint64(start+int64(at)) / s.survey.PageSize; p != page || p == 0 {
					page, level = p, s.trust(p)
				}
				s.elsewhere = append(s.elsewhere, find{record: record, sum: sum, page: page, trust: level})
			}
			at += n
		}
	}
}

// read fills b from the offset at. Parts that can't be read are zero.
func (s *salvor) read(b []byte, at int64) {
	clear(b)
	if _, err := s.r.ReadAt(b, at); err == nil || errors.Is(err, io.EOF) {
		return
	}
	for i := 0; i < len(b); i += sectorSize {
		part := b[i:min(i+sectorSize, len(b))]
		if _, err := s.r.ReadAt(part, at+int64(i)); err != nil && !errors.Is(err, io.EOF) {
			clear(part)
			s.problem(Damage, (at+int64(i))/int64(s.survey.PageSize), nil, "it can't be read: %v", err)
		}
	}
}

const sectorSize = 512

// trust returns the trust in a record on the page that the last commit does not
// lead to.
func (s *salvor) trust(page uint64) trust {
	usage := s.survey.Usage(page)
	switch {
	case usage == boltfile.InUse:
		return severed
	case !s.inPlace(page):
		return stray
	case usage == boltfile.Free && !s.behind:
		return freed
	case page >= s.survey.Pages && !s.behind:
		return beyond
	}
	return orphan
}

// maxMore limits the overflow pages that inPlace looks back over. A page of a
// catalog's records has no more, whatever the page size.
const maxMore = 64

// inPlace reports whether a page is where it was written: it has its own
// number, or it is an overflow page of a page that has its own number.
func (s *salvor) inPlace(page uint64) bool {
	for n := page; n >= 2 && page-n <= maxMore; n-- {
		// If the read fails, the zero header matches no page. scan has reported
		// the error.
		var header [boltfile.HeaderSize]byte
		_, _ = s.r.ReadAt(header[:], int64(n*s.survey.PageSize))
		if boltfile.Number(header[:]) == n {
			return uint64(boltfile.More(header[:])) >= page-n
		}
	}
	return false
}
