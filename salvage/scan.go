package salvage

import (
	"bytes"
	"cmp"
	"errors"
	"io"

	"github.com/customstatus/customstatus/internal/bolt"
	"github.com/customstatus/customstatus/internal/boltfile"
)

// trust is how a record was found, from the best to the worst.
type trust int

const (
	reached trust = iota // the last commit leads to it
	severed              // on a page of the last commit, of which a part can't be read
	orphan               // on a page that nothing leads to, and that is not known to be free
	stray                // on a page that does not stand where it was written
	freed                // on a page that is free
	beyond               // on a page beyond those that the last commit knows of
)

// doubt says why a record is doubtful.
func (t trust) doubt() string {
	why := [...]string{
		severed: "nothing leads to it, though its page is in use",
		orphan:  "nothing leads to its page",
		stray:   "its page stands out of place",
		freed:   "its page is free, but there is no other record of it",
		beyond:  "its page is beyond those in use, but there is no other record of it",
	}
	return why[t] + "; it may be older than the last commit, or deleted by it"
}

// used reports whether the page of a record may be part of the last commit. When a
// page is written, it is written anew in another place, and where it was before,
// most of its records still stand, on a free page. Beyond the pages in use stands
// what a commit wrote that was never finished.
func (t trust) used() bool { return t < freed }

// beats reports whether to take f for its id, not other. A record on a page that is
// not in use counts only if there is no other.
func (f find) beats(other find) bool {
	if f.trust.used() != other.trust.used() || !f.trust.used() && f.trust != other.trust {
		return f.trust < other.trust
	}
	return cmp.Or(cmp.Compare(f.record.Revision, other.record.Revision), cmp.Compare(other.trust, f.trust)) > 0
}

const (
	scanStep = 1 << 20
	// Most records that a catalog makes are no larger. Larger ones are looked for
	// as long as it doesn't take too much effort: what looks like their beginning
	// may stand at every other byte.
	usualRecord = 1 << 10
)

// scan looks for records in the whole file, byte by byte.
func (s *salvor) scan() {
	effort := 4*s.size + 64<<20
	window := make([]byte, min(scanStep+bolt.MaxRecordBytes, s.size))
	var (
		page  uint64 // of the record before
		level trust  // of it
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

// read reads all it can of b, and leaves zeros for the rest.
func (s *salvor) read(b []byte, at int64) {
	clear(b)
	if _, err := s.r.ReadAt(b, at); err == nil || errors.Is(err, io.EOF) {
		return
	}
	for i := 0; i < len(b); i += sectorSize {
		part := b[i:min(i+sectorSize, len(b))]
		if _, err := s.r.ReadAt(part, at+int64(i)); err != nil && !errors.Is(err, io.EOF) {
			clear(part)
			s.problem(Damage, (at+int64(i))/int64(s.survey.PageSize), nil, "it cannot be read: %v", err)
		}
	}
}

const sectorSize = 512

// trust returns how far to trust a record on a page, if it was not reached.
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

// maxMore is how many pages behind its first one a page is looked for. A page that
// a catalog's records make has no more, whatever the size of pages.
const maxMore = 64

// inPlace reports whether a page stands where it was written, as one that says its
// number or as one of those behind such a page that belong to it.
func (s *salvor) inPlace(page uint64) bool {
	for n := page; n >= 2 && page-n <= maxMore; n-- {
		// If it can't be read, which scan has said, it is no number of a page with records.
		var header [boltfile.HeaderSize]byte
		_, _ = s.r.ReadAt(header[:], int64(n*s.survey.PageSize))
		if boltfile.Number(header[:]) == n {
			return uint64(boltfile.More(header[:])) >= page-n
		}
	}
	return false
}
