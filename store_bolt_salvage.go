package customstatus

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/customstatus/customstatus/internal/boltfile"
)

// Salvage is what [SalvageBolt] has saved of a file.
type Salvage struct {
	// Statuses are those that were saved, ordered by ID. No two have the same
	// id or the same name. Those that are doubtful are named in Problems.
	Statuses []CustomUserStatus
	// Revision is that of the last commit that is known of.
	Revision Revision
	// Complete says that Statuses are exactly those of the last commit. It is
	// known from a checksum over all of them, whatever else is damaged.
	Complete bool
	// Problems are the damages found, and the statuses that are lost, doubtful
	// or left out. There are none for a sound file.
	Problems []SalvageProblem
}

// SalvageProblem is something that a [Salvage] could not make good.
type SalvageProblem struct {
	// Page is the number of the page of the file at fault, or -1 if it is not
	// a page's.
	Page int64
	// Status is what is known of the status concerned, of a lost one no more
	// than the ID. It is the zero value if the problem is not one status's.
	Status CustomUserStatus
	// Reason says what the problem is.
	Reason string
}

// String returns page, status and reason in one line.
func (p SalvageProblem) String() string {
	var b strings.Builder
	if p.Page >= 0 {
		fmt.Fprintf(&b, "page %d: ", p.Page)
	}
	switch {
	case p.Status.Name != "":
		fmt.Fprintf(&b, "status %q, named %q: ", p.Status.ID, p.Status.Name)
	case p.Status.ID != "":
		fmt.Fprintf(&b, "status %q: ", p.Status.ID)
	}
	b.WriteString(p.Reason)
	return b.String()
}

// SalvageBolt saves what is intact in the bbolt file at path, which may be
// damaged in any way. It reads the file without bbolt and does not write to it.
//
// Every record has a checksum and says all about its status, so that a status is
// saved if its bytes are still anywhere in the file:
//
//   - What the last commit leads to is saved, and is not doubtful.
//   - Of an id whose record is damaged there, or that is among the keys of a page
//     that is, the newest record is saved that is found anywhere else. It is
//     doubtful: it may be older than the last commit, or deleted by it.
//   - Of every other id it is known that the last commit did not have it. It was
//     deleted, and what is found of it is left out without a word.
//   - Of two statuses with the same name, the better founded or newer one is
//     saved, and the other listed.
//   - One or two records too many are left out if the checksum over all tells
//     which.
//
// If a meta page is damaged, or if pages do not fit together, it is not certain
// what the last commit leads to. A problem says so, and of every id the newest
// record is saved; one on a free page only if there is no other. An old page in
// the place of a newer one can go unnoticed, though, if others are damaged too;
// what it has is not listed as doubtful.
//
// The error is [ErrLocked] if another process has the file open for writing, or
// what the system says if it can't be opened. Whatever can't be read otherwise
// is a problem in the result.
func SalvageBolt(path string) (*Salvage, error) {
	s, err := salvageBolt(path)
	if err != nil {
		return nil, fmt.Errorf("bolt: salvage %s: %w", path, err)
	}
	return s, nil
}

func salvageBolt(path string) (*Salvage, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is no regular file but %v", info.Mode().Type())
	}
	if err := lockFile(file, false, defaultLockTimeout); err != nil {
		return nil, err
	}
	return salvage(file, info.Size()), nil
}

// trust is how a record was found, from the best to the worst.
type trust int

const (
	reached trust = iota // the last commit leads to it
	severed              // on a page of the last commit, of which a part can't be read
	orphan               // on a page that nothing leads to, and that is not known to be free
	stray                // on a page that does not stand where it was written
	freed                // on a page that is free
)

// doubt says why a record is doubtful.
func (t trust) doubt() string {
	why := map[trust]string{
		severed: "nothing leads to it, though its page is in use",
		orphan:  "nothing leads to its page",
		stray:   "its page stands out of place",
		freed:   "its page is free, but there is no other record of it",
	}
	return "doubtful: " + why[t] + "; it may be older than the last commit, or deleted by it"
}

// find is a record that was found.
type find struct {
	status CustomUserStatus
	sum    uint64
	page   uint64
	trust  trust
}

// beats reports whether to take f for its id, not other. One on a free page counts
// only if there is no other one: when a page is written, it is written anew in
// another place, and where it was before, most of its records still stand.
func (f find) beats(other find) bool {
	if (f.trust == freed) != (other.trust == freed) {
		return other.trust == freed
	}
	return cmp.Or(cmp.Compare(f.status.Revision, other.status.Revision), cmp.Compare(other.trust, f.trust)) > 0
}

// salvor is the work on one file.
type salvor struct {
	survey    *boltfile.Survey
	state     storedState
	hasState  bool
	last      Revision                  // of what was ever committed, as far as is known
	reached   map[string]find           // by id
	damaged   map[string]SalvageProblem // records that can't be read, by key
	elsewhere []find                    // all other records that were found
	// sure says that what was reached is the last commit's, and all of it but
	// for what is known to be lost.
	sure   bool
	result Salvage
}

func salvage(r io.ReaderAt, size int64) *Salvage {
	s := &salvor{last: math.MaxUint64, reached: make(map[string]find), damaged: make(map[string]SalvageProblem)}
	s.survey = boltfile.Explore(r, size, s.visit)
	for _, d := range s.survey.Damages {
		page, reason := int64(-1), d.Reason
		if d.Page != boltfile.NoPage {
			page = int64(d.Page)
		}
		if d.Bucket != "" {
			reason = fmt.Sprintf("in bucket %q: %s", d.Bucket, reason)
		}
		s.problem(page, CustomUserStatus{}, "%s", reason)
	}
	if len(s.survey.Damages) == 0 && !s.survey.Whole(boltRecords) {
		s.problem(-1, CustomUserStatus{}, "there is no bucket %q", boltRecords)
	}
	s.conclude(s.choose(r, size))
	return &s.result
}

func (s *salvor) problem(page int64, status CustomUserStatus, format string, args ...any) {
	s.result.Problems = append(s.result.Problems, SalvageProblem{page, status, fmt.Sprintf(format, args...)})
}

// visit takes in a key of a bucket of the last commit.
func (s *salvor) visit(page uint64, bucket string, key, value []byte) {
	switch {
	case bucket == boltMeta && string(key) == boltStateKey:
		state, err := decodeState(value)
		if err != nil {
			s.problem(int64(page), CustomUserStatus{}, "the state of the store: %v", err)
			return
		}
		s.state, s.hasState = state, true
	case bucket == boltRecords:
		id := string(key)
		status, sum, err := decodeRecord(value)
		if err == nil && status.ID != id {
			err = fmt.Errorf("it is that of %q", status.ID)
		}
		if err != nil {
			s.damaged[id] = SalvageProblem{int64(page), CustomUserStatus{ID: id}, fmt.Sprintf("its record is damaged: %v", err)}
			return
		}
		s.reached[id] = find{status, sum, page, reached}
	}
}

// scan looks for records in the whole file, byte by byte.
func (s *salvor) scan(r io.ReaderAt, size int64) {
	const (
		step = 1 << 20
		most = recordMin + 3*(1<<16) // the size of a record
		// Those that a catalog makes are smaller. Larger ones are looked for as
		// long as it doesn't take too much effort: what looks like their
		// beginning may stand at every other byte.
		usual = 1 << 10
	)
	effort := 4*size + 64<<20
	end := min(size, int64(s.survey.Pages*s.survey.PageSize))
	window := make([]byte, min(step+most, end))
	for start := int64(0); start < end; start += step {
		b := window[:min(step+most, end-start)]
		s.read(r, b, start)
		for at := 0; at < min(step, len(b)); {
			i := bytes.IndexByte(b[at:min(step, len(b))], recordMagic)
			if i < 0 {
				break
			}
			at += i
			length, err := recordLength(b[at:])
			if length > usual {
				effort -= int64(length)
			}
			if err != nil || length > usual && effort < 0 {
				at++
				continue
			}
			status, sum, n, err := scanRecord(b[at:])
			if err != nil {
				at++
				continue
			}
			if known, ok := s.reached[status.ID]; !ok || known.sum != sum {
				page := uint64(start+int64(at)) / s.survey.PageSize
				s.elsewhere = append(s.elsewhere, find{status, sum, page, s.trust(r, page)})
			}
			at += n
		}
	}
}

// read reads all it can of b, and leaves zeros for the rest.
func (s *salvor) read(r io.ReaderAt, b []byte, at int64) {
	clear(b)
	if _, err := r.ReadAt(b, at); err == nil || errors.Is(err, io.EOF) {
		return
	}
	for i := 0; i < len(b); i += sectorSize {
		part := b[i:min(i+sectorSize, len(b))]
		if _, err := r.ReadAt(part, at+int64(i)); err != nil && !errors.Is(err, io.EOF) {
			clear(part)
			s.problem((at+int64(i))/int64(s.survey.PageSize), CustomUserStatus{}, "it cannot be read: %v", err)
		}
	}
}

const sectorSize = 512

// trust returns how far to trust a record on a page, if it was not reached.
func (s *salvor) trust(r io.ReaderAt, page uint64) trust {
	usage := s.survey.Usage(page)
	if usage == boltfile.InUse {
		return severed
	}
	var number [8]byte
	// If it can't be read, which scan has said, it is no number of a page with records.
	_, _ = r.ReadAt(number[:], int64(page*s.survey.PageSize))
	switch {
	case boltfile.Number(number[:]) != page:
		return stray
	case usage == boltfile.Free:
		return freed
	}
	return orphan
}

// choose returns what to save, and sets whether it is complete.
func (s *salvor) choose(r io.ReaderAt, size int64) []find {
	current := s.hasState && s.survey.Newest && s.state.transaction == s.survey.Transaction
	if current {
		s.last = s.state.revision
	}
	best, _ := s.best(reached)
	same := s.hasState && s.excess(best) == storedState{}
	// If the last transaction was not the store's, it was that of a host, or else
	// the state is an old one, and what it counts may be found, too: there must
	// be nothing amiss then.
	if same && (current || len(s.survey.Damages) == 0) {
		s.sure, s.result.Complete = true, true
		return best
	}
	s.scan(r, size)
	whole := s.survey.Whole(boltRecords) && len(s.damaged) == 0
	s.sure = s.survey.Newest && !s.survey.Conflict && (same || !whole || !s.hasState)
	s.sure = s.sure && !slices.ContainsFunc(s.elsewhere, s.contradicts)
	for _, p := range s.damaged {
		s.sure = s.sure && !several(r, p.Page, s.survey.PageSize)
	}
	s.elsewhere = slices.DeleteFunc(s.elsewhere, func(f find) bool {
		return f.status.Revision > s.last || !s.lost(f.status.ID)
	})
	for t := severed; current && t < freed; t++ {
		best, _ = s.best(t)
		if best, s.result.Complete = s.fit(best); s.result.Complete {
			return best
		}
	}
	best, disputes := s.best(freed)
	if current {
		best, s.result.Complete = s.fit(best)
	}
	if !s.result.Complete {
		s.result.Problems = append(s.result.Problems, disputes...)
	}
	return best
}

// several reports whether a page goes on in those behind it. If a record on such a
// page is damaged, one of them may be an old one, and with it other records.
func several(r io.ReaderAt, page int64, size uint64) bool {
	var header [boltfile.HeaderSize]byte
	_, err := r.ReadAt(header[:], page*int64(size))
	return err != nil || boltfile.More(header[:]) > 0
}

// contradicts reports whether a record can't be where it is if what was reached
// is the last commit's: on a page that is not free, though none that could have
// it is lost.
func (s *salvor) contradicts(f find) bool {
	return (f.trust == severed || f.trust == orphan && s.survey.Listed) && !s.lost(f.status.ID)
}

// lost reports whether the last commit may have another record of an id than
// what was reached.
func (s *salvor) lost(id string) bool {
	_, ok := s.reached[id]
	_, damaged := s.damaged[id]
	return !s.sure || !ok && (damaged || s.survey.Lost(boltRecords, []byte(id)))
}

// best returns the newest record of each id among those that are trusted so far,
// in the order of ids, and a problem for each that is left out because of its
// name.
func (s *salvor) best(worst trust) (best []find, disputes []SalvageProblem) {
	byID := maps.Clone(s.reached)
	for _, f := range s.elsewhere {
		if old, ok := byID[f.status.ID]; f.trust <= worst && (!ok || f.beats(old)) {
			byID[f.status.ID] = f
		}
	}
	best = slices.SortedFunc(maps.Values(byID), func(a, b find) int {
		return cmp.Or(cmp.Compare(a.trust, b.trust), cmp.Compare(b.status.Revision, a.status.Revision), strings.Compare(a.status.ID, b.status.ID))
	})
	owners := make(map[string]string, len(best))
	best = slices.DeleteFunc(best, func(f find) bool {
		owner, taken := owners[f.status.Name]
		if taken {
			disputes = append(disputes, SalvageProblem{int64(f.page), f.status,
				fmt.Sprintf("left out: the name belongs to status %q, which is newer or better founded", owner)})
			return true
		}
		owners[f.status.Name] = f.status.ID
		return false
	})
	slices.SortFunc(best, func(a, b find) int { return strings.Compare(a.status.ID, b.status.ID) })
	return best, disputes
}

// excess returns the count and the digest of what these records are more than
// those that the store says it has.
func (s *salvor) excess(best []find) storedState {
	more := storedState{count: -s.state.count, digest: -s.state.digest}
	for _, f := range best {
		more.add(f.sum)
	}
	return more
}

// fit reports whether these are the records that the store says it has, once up to
// two are left out, and returns the rest.
func (s *salvor) fit(best []find) ([]find, bool) {
	more := s.excess(best)
	switch more.count {
	case 0:
		return best, more.digest == 0
	case 1:
		for i, f := range best {
			if spread(f.sum) == more.digest {
				return slices.Delete(best, i, i+1), true
			}
		}
	case 2:
		seen := make(map[uint64]int, len(best))
		for i, f := range best {
			if j, ok := seen[more.digest-spread(f.sum)]; ok {
				return slices.Delete(slices.Delete(best, i, i+1), j, j+1), true
			}
			seen[spread(f.sum)] = i
		}
	}
	return best, false
}

// conclude makes the result of what was chosen.
func (s *salvor) conclude(best []find) {
	if s.hasState {
		s.result.Revision = s.state.revision
	}
	for _, f := range best {
		s.result.Statuses = append(s.result.Statuses, f.status)
		s.result.Revision = max(s.result.Revision, f.status.Revision)
		switch {
		case s.result.Complete:
		case s.hasState && f.status.Revision > s.state.revision:
			s.problem(int64(f.page), f.status, "doubtful: newer than the last commit that is known of, it may never have been committed")
		case f.trust != reached:
			s.problem(int64(f.page), f.status, "%s", f.trust.doubt())
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.damaged)) {
		p := s.damaged[id]
		_, saved := slices.BinarySearchFunc(best, id, func(f find, id string) int { return strings.Compare(f.status.ID, id) })
		if !saved && !s.result.Complete {
			p.Reason = "lost: " + p.Reason
		}
		s.result.Problems = append(s.result.Problems, p)
	}
	if s.survey.Newest && !s.sure {
		reason := "some pages do not fit together, and it can't be told which are at fault"
		if !s.result.Complete {
			reason += ": any status may be older than the last commit, or deleted by it"
		}
		s.problem(-1, CustomUserStatus{}, "%s", reason)
	}
	if s.result.Complete {
		return
	}
	saved := uint64(len(best))
	switch {
	case !s.hasState:
		s.problem(-1, CustomUserStatus{}, "it is not known how many statuses there were; %d were saved", saved)
	case !s.survey.Newest:
		s.problem(-1, CustomUserStatus{}, "a meta page is damaged or outdated: what the last commits did may be lost in part; the last one that can be read left %d statuses, %d were saved", s.state.count, saved)
	case saved < s.state.count:
		orMore := ""
		if slices.ContainsFunc(best, func(f find) bool { return f.trust != reached }) {
			orMore = " or more"
		}
		s.problem(-1, CustomUserStatus{}, "the last commit left %d statuses: %d were saved, %d%s missing", s.state.count, saved, s.state.count-saved, orMore)
	default:
		s.problem(-1, CustomUserStatus{}, "the last commit left %d statuses, %d were saved, and it can't be told that they are the same", s.state.count, saved)
	}
}
