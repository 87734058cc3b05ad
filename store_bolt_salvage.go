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
	// Status is what is known of the status concerned, the zero value if the
	// problem is not one status's.
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
	if p.Status.ID != "" {
		fmt.Fprintf(&b, "status %q, named %q: ", p.Status.ID, p.Status.Name)
	}
	b.WriteString(p.Reason)
	return b.String()
}

// SalvageBolt saves what is intact in the bbolt file at path, which may be
// damaged in any way. It reads the file without bbolt and does not write to it.
//
// Every record has a checksum and says all about its status, so that a status is
// saved if its bytes are still anywhere in the file. Where the way to it is
// lost, it can't always be told from an older one of the same status or from
// one that was deleted; the newest of each id is saved then and listed as
// doubtful. If two have the same name, the better founded or newer one is saved
// and the other listed.
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
	reached trust = iota // on a page that the last commit leads to
	orphan               // on a page that nothing leads to, and that is not known to be free
	stray                // on a page that does not stand where it was written
	freed                // on a page that is free
)

// doubt says why a record is doubtful.
func (t trust) doubt() string {
	const but = "; it may be older than the last commit"
	switch t {
	case orphan:
		return "doubtful: nothing leads to its page" + but + ", or deleted by it"
	case stray:
		return "doubtful: its page stands out of place" + but + ", or deleted by it"
	}
	return "doubtful: its page is free, but there is no other record of it" + but
}

// find is a record that was found.
type find struct {
	status CustomUserStatus
	sum    uint64
	page   uint64
	trust  trust
}

// salvor is the work on one file.
type salvor struct {
	survey   *boltfile.Survey
	state    storedState
	hasState bool
	names    map[string]string // what could be read of the name index
	finds    []find
	result   Salvage
}

func salvage(r io.ReaderAt, size int64) *Salvage {
	s := &salvor{names: make(map[string]string)}
	s.survey = boltfile.Explore(r, size, func(bucket string, key, value []byte) {
		switch {
		case bucket == boltMeta && string(key) == boltStateKey:
			state, err := decodeState(value)
			if err != nil {
				s.problem(-1, CustomUserStatus{}, "the state of the store: %v", err)
				return
			}
			s.state, s.hasState = state, true
		case bucket == boltNames:
			s.names[string(key)] = string(value)
		}
	})
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
	s.scan(r, size)
	s.choose()
	return &s.result
}

func (s *salvor) problem(page int64, status CustomUserStatus, format string, args ...any) {
	s.result.Problems = append(s.result.Problems, SalvageProblem{page, status, fmt.Sprintf(format, args...)})
}

// scan looks for records in the whole file, byte by byte.
func (s *salvor) scan(r io.ReaderAt, size int64) {
	const (
		step = 1 << 20
		most = recordMin + 3*(1<<16) // the size of a record
	)
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
			status, sum, n, err := scanRecord(b[at:])
			if err != nil {
				at++
				continue
			}
			page := uint64(start+int64(at)) / s.survey.PageSize
			s.finds = append(s.finds, find{status, sum, page, s.trust(r, page)})
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

// trust returns how far to trust a record on a page.
func (s *salvor) trust(r io.ReaderAt, page uint64) trust {
	usage := s.survey.Usage(page)
	if usage == boltfile.InUse {
		return reached
	}
	var number [8]byte
	s.read(r, number[:], int64(page*s.survey.PageSize))
	switch {
	case usage == boltfile.Misplaced || boltfile.Number(number[:]) != page:
		return stray
	case usage == boltfile.Free:
		return freed
	}
	return orphan
}

// choose selects among the records that were found.
func (s *salvor) choose() {
	var best map[string]find
	if s.hasState {
		s.result.Revision = s.state.revision
	}
	switch {
	case !s.hasState || !s.survey.Newest:
	case s.state.transaction == s.survey.Transaction:
		for t := reached; t <= freed && !s.result.Complete; t++ {
			best = s.newest(t, s.state.revision)
			s.result.Complete = s.isState(best)
		}
	case len(s.survey.Damages) == 0:
		// The last transaction was not the store's but that of a host, or else
		// the state is an old one, and what it counts may be found, too: it
		// must be all there is.
		best = s.newest(reached, math.MaxUint64)
		s.result.Complete = s.isState(best)
	}
	if !s.result.Complete {
		best = s.newest(freed, math.MaxUint64)
	}
	for _, f := range s.unique(best) {
		s.result.Statuses = append(s.result.Statuses, f.status)
		switch {
		case s.result.Complete:
		case s.hasState && f.status.Revision > s.state.revision:
			s.problem(int64(f.page), f.status, "doubtful: newer than the last commit that is known of, it may never have been committed")
		case f.trust != reached:
			s.problem(int64(f.page), f.status, "%s", f.trust.doubt())
		}
		s.result.Revision = max(s.result.Revision, f.status.Revision)
	}
	if !s.result.Complete {
		s.missing(best)
	}
}

// newest returns the newest record of each id, up to a revision, among those that
// are trusted so far. One on a free page counts only if there is no other one, and if the name
// index has it. (When a page is written, it is written anew in another place:
// where it was before, most of its records still stand.)
func (s *salvor) newest(worst trust, last Revision) map[string]find {
	best := make(map[string]find)
	for _, f := range s.finds {
		if f.trust > worst || f.status.Revision > last || f.trust == freed && s.names[f.status.Name] != f.status.ID {
			continue
		}
		old, ok := best[f.status.ID]
		switch {
		case !ok, old.trust == freed && f.trust != freed:
		case f.trust == freed && old.trust != freed:
			continue
		case f.status.Revision < old.status.Revision,
			f.status.Revision == old.status.Revision && f.trust >= old.trust:
			continue
		}
		best[f.status.ID] = f
	}
	return best
}

// isState reports whether these are the records that the store says it has.
func (s *salvor) isState(best map[string]find) bool {
	got := storedState{revision: s.state.revision, transaction: s.state.transaction}
	for _, f := range best {
		got.add(f.sum)
	}
	return got == s.state
}

// unique leaves out what a sound name index does not have, and all but one of
// those with the same name. It returns the rest ordered by id.
func (s *salvor) unique(best map[string]find) []find {
	all := make([]find, 0, len(best))
	indexed := s.hasState && s.survey.Newest && !s.survey.Damaged(boltNames) && uint64(len(s.names)) == s.state.count
	for id, f := range best {
		if !s.result.Complete && indexed && f.trust != reached && s.names[f.status.Name] != id {
			s.problem(int64(f.page), f.status, "left out: the name index does not have it, it is outdated")
			continue
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b find) int {
		return cmp.Or(cmp.Compare(a.trust, b.trust), cmp.Compare(b.status.Revision, a.status.Revision), strings.Compare(a.status.ID, b.status.ID))
	})
	owners := make(map[string]string, len(all))
	all = slices.DeleteFunc(all, func(f find) bool {
		owner, taken := owners[f.status.Name]
		if taken {
			s.problem(int64(f.page), f.status, "left out: the name belongs to status %q, which is newer or better founded", owner)
			return true
		}
		owners[f.status.Name] = f.status.ID
		return false
	})
	slices.SortFunc(all, func(a, b find) int { return strings.Compare(a.status.ID, b.status.ID) })
	return all
}

// missing lists what is known to be lost.
func (s *salvor) missing(best map[string]find) {
	lost := make([]CustomUserStatus, 0)
	for name, id := range s.names {
		switch f, ok := best[id]; {
		case !ok:
			lost = append(lost, CustomUserStatus{ID: id, Name: name})
		case f.status.Name != name:
			s.problem(int64(f.page), f.status, "outdated: the name index calls it %q", name)
		}
	}
	slices.SortFunc(lost, func(a, b CustomUserStatus) int { return strings.Compare(a.Name, b.Name) })
	for _, status := range lost {
		s.problem(-1, status, "lost: the name index has it, but it has no intact record")
	}
	if s.survey.Damaged(boltRecords) {
		s.leftOut(best)
	}
	saved := len(s.result.Statuses)
	switch {
	case !s.hasState:
		s.problem(-1, CustomUserStatus{}, "it is not known how many statuses there were; %d were saved", saved)
	case !s.survey.Newest:
		s.problem(-1, CustomUserStatus{}, "a meta page is damaged or outdated: what the last commits did may be lost in part; there were %d statuses before it, %d were saved", s.state.count, saved)
	default:
		s.problem(-1, CustomUserStatus{}, "the last commit left %d statuses, %d were saved, and they are not exactly the same", s.state.count, saved)
	}
}

// leftOut lists the statuses that were found on free pages only. Most were
// deleted, but if a part of the records can't be reached, the list of free pages
// could be wrong, too.
func (s *salvor) leftOut(best map[string]find) {
	newest := make(map[string]find)
	for _, f := range s.finds {
		id := f.status.ID
		if _, saved := best[id]; !saved && f.status.Revision > newest[id].status.Revision {
			newest[id] = f
		}
	}
	for _, f := range slices.SortedFunc(maps.Values(newest), func(a, b find) int { return strings.Compare(a.status.ID, b.status.ID) }) {
		s.problem(int64(f.page), f.status, "left out: its page is free and the name index does not have it, it was deleted unless both are wrong")
	}
}
