package salvage

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/bolt"
	"github.com/customstatus/customstatus/internal/boltfile"
)

// salvor is the state of the work on one file.
type salvor struct {
	r       io.ReaderAt
	size    int64
	catalog string
	tag     bolt.Tag
	survey  *boltfile.Survey

	state    bolt.State
	hasState bool
	// behind says that the meta page is older than the state that it leads to.
	// Either later meta pages were lost, or the file was compacted, which
	// restarts the count of transactions.
	behind   bool
	last     uint64   // no revision after it is known to be committed
	catalogs []string // other catalogs in the file

	reached map[string]find // by id
	wounds  []wound         // damaged records that the last commit leads to
	// gaps are the ranges of ids that a wound may have hidden; old are the
	// ranges of ids on pages that may be outdated.
	gaps, old []gap
	elsewhere []find // all other records found in the file
	// sure says that the reached records are those of the last commit, without the
	// known losses.
	sure   bool
	result Result
}

// suspectPages finds pages of the last commit that may be outdated, because a
// newer record of a status on the page was found elsewhere. That newer record
// may be outdated as well, or may belong to an unfinished commit. Otherwise the
// page is outdated: its other records may be old too, and newer records may be
// missing.
func (s *salvor) suspectPages() {
	suspects := make(map[uint64]bool)
	for _, f := range s.elsewhere {
		known, ok := s.reached[f.record.ID]
		if ok && s.hasState && f.record.Revision > known.record.Revision && f.record.Revision <= s.state.Revision {
			suspects[known.page] = true
		}
	}
	if len(suspects) == 0 {
		return
	}
	var between *gap
	after := ""
	for _, id := range slices.Sorted(maps.Keys(s.reached)) {
		f := s.reached[id]
		if !suspects[f.page] {
			if between != nil {
				between.before, between = id, nil
			}
			after = id
			continue
		}
		f.suspect = true
		s.reached[id] = f
		if between == nil {
			s.old = append(s.old, gap{after: after})
			between = &s.old[len(s.old)-1]
		}
	}
}

// find is a record found in the file.
type find struct {
	record bolt.Record
	sum    uint64
	page   uint64
	trust  trust
	// suspect says that the page may be outdated: see suspectPages.
	suspect bool
}

// wound is a record that is damaged or has a damaged key.
type wound struct {
	page uint64
	key  string
	err  error
	// whole says that the record is sound or could be restored.
	whole  bool
	record bolt.Record
	sum    uint64
	// named says that the record's id equals the key, which proves both.
	named bool
	// between is the range of the id, if the record is not saved.
	between gap
}

// gap is a range of ids, both ends excluded. An empty end is open.
type gap struct{ after, before string }

func (g gap) has(id string) bool {
	return id > g.after && (g.before == "" || id < g.before)
}

// among reports whether one of the gaps has the id. The gaps must be in order.
func among(gaps []gap, id string) bool {
	n, _ := slices.BinarySearchFunc(gaps, id, func(g gap, id string) int { return strings.Compare(g.after, id) })
	return n > 0 && gaps[n-1].has(id)
}

func (g gap) String() string {
	switch {
	case g.after == "" && g.before == "":
		return "any at all"
	case g.before == "":
		return fmt.Sprintf("any beyond %q", g.after)
	case g.after == "":
		return fmt.Sprintf("any before %q", g.before)
	}
	return fmt.Sprintf("any between %q and %q", g.after, g.before)
}

func salvage(r io.ReaderAt, size int64, catalog string) *Result {
	s := &salvor{
		r: r, size: size, catalog: catalog, tag: bolt.TagOf(catalog),
		last: math.MaxUint64, reached: make(map[string]find),
	}
	s.survey = boltfile.Explore(r, size, s.visit)
	s.mentionDamages()
	s.behind = s.hasState && s.survey.Newest && s.state.Transaction > s.survey.Transaction
	s.dress()
	s.conclude(s.choose())
	return &s.result
}

func (s *salvor) problem(kind Kind, page int64, r *bolt.Record, format string, args ...any) {
	p := Problem{Kind: kind, Page: page, Reason: fmt.Sprintf(format, args...)}
	if r != nil {
		p.Status = status(r)
	}
	s.result.Problems = append(s.result.Problems, p)
}

// mentionDamages adds a problem for each damage in the structure of the file.
func (s *salvor) mentionDamages() {
	for _, d := range s.survey.Damages {
		page, reason := int64(-1), d.Reason
		if d.Page != boltfile.NoPage {
			page = int64(d.Page)
		}
		if d.Bucket != "" {
			reason = fmt.Sprintf("in bucket %q: %s", d.Bucket, reason)
		}
		s.problem(Damage, page, nil, "%s", reason)
	}
	if len(s.survey.Damages) > 0 || s.survey.Whole(bolt.RecordBucket(s.catalog)) {
		return
	}
	others := "no other catalog"
	if len(s.catalogs) > 0 {
		slices.Sort(s.catalogs)
		others = fmt.Sprintf("the catalogs %q", s.catalogs)
	}
	s.problem(Damage, -1, nil, "there is no bucket %q; the file has %s", bolt.RecordBucket(s.catalog), others)
}

// visit handles a key and value that the last commit leads to.
func (s *salvor) visit(page uint64, bucket string, key, value []byte) {
	if string(key) == bolt.StateKey {
		if other, ok := catalogOf(bucket); ok && other != s.catalog {
			s.catalogs = append(s.catalogs, other)
		}
	}
	switch {
	case bucket == bolt.StateBucket(s.catalog) && string(key) == bolt.StateKey:
		state, err := bolt.DecodeState(value)
		if err != nil {
			s.problem(Damage, int64(page), nil, "the state of the store: %v", err)
			return
		}
		s.state, s.hasState = state, true
	case bucket == bolt.RecordBucket(s.catalog):
		s.visitRecord(page, string(key), value)
	}
}

// catalogOf returns the name of the catalog whose state is in the bucket. It
// reports false if the bucket has no state.
func catalogOf(bucket string) (string, bool) {
	if bucket == bolt.StateBucket("") {
		return "", true
	}
	return strings.CutPrefix(bucket, strings.TrimSuffix(bolt.StateBucket("x"), "x"))
}

func (s *salvor) visitRecord(page uint64, key string, value []byte) {
	r, sum, err := bolt.DecodeRecord(value, s.tag)
	if err == nil && r.ID == key {
		s.reached[key] = find{record: r, sum: sum, page: page}
		return
	}
	w := wound{page: page, key: key, err: err, whole: err == nil, record: r, sum: sum}
	if err != nil {
		w.record, w.sum, w.whole = bolt.RestoreRecord(value, s.tag, key)
		w.named = bolt.SaysID(value, key)
	}
	s.wounds = append(s.wounds, w)
}

// dress saves the wounded records that are whole, and determines the range
// of ids of the others. The key of a damaged record may be damaged too. But
// keys are in order, so the id is between the neighbouring keys.
func (s *salvor) dress() {
	if len(s.wounds) == 0 {
		return
	}
	sound := slices.Sorted(maps.Keys(s.reached))
	for i, w := range s.wounds {
		var between gap
		n, _ := slices.BinarySearch(sound, w.key)
		if n > 0 {
			between.after = sound[n-1]
		}
		if n < len(sound) {
			between.before = sound[n]
		}
		if _, taken := s.reached[w.record.ID]; w.whole && !taken && between.has(w.record.ID) {
			s.reached[w.record.ID] = find{record: w.record, sum: w.sum, page: w.page}
			what := "its record was damaged and is restored"
			if w.record.ID != w.key {
				what = fmt.Sprintf("its key is damaged: %q", w.key)
			}
			s.problem(Damage, int64(w.page), &w.record, "%s", what)
			continue
		}
		s.wounds[i].whole, s.wounds[i].between = false, between
		s.gaps = append(s.gaps, between)
	}
	slices.SortFunc(s.gaps, func(a, b gap) int { return strings.Compare(a.after, b.after) })
	s.gaps = slices.Compact(s.gaps) // two gaps are equal or disjoint
}

// mentionWounds adds a problem for each damaged record that dress did not
// save.
func (s *salvor) mentionWounds(best []find) {
	for _, w := range s.wounds {
		if w.whole {
			continue
		}
		reason := fmt.Sprintf("%v", w.err)
		if w.err == nil {
			reason = fmt.Sprintf("it is the record of %q, which does not belong there", w.record.ID)
		}
		if !w.named {
			s.problem(Damage, int64(w.page), nil, "the record under the key %q is damaged: %s; if the key is damaged too, the id is %v", w.key, reason, w.between)
			continue
		}
		_, saved := slices.BinarySearchFunc(best, w.key, func(f find, id string) int { return strings.Compare(f.record.ID, id) })
		p := Problem{Kind: Damage, Page: int64(w.page), Status: customstatus.CustomUserStatus{ID: w.key}, Reason: "its record is damaged: " + reason}
		if !saved && !s.result.Complete {
			p.Kind = Lost
		}
		s.result.Problems = append(s.result.Problems, p)
	}
}

// several reports whether a page has overflow pages. If a record on such a page
// is damaged, one overflow page may be outdated, and so may other records.
func (s *salvor) several(page uint64) bool {
	var header [boltfile.HeaderSize]byte
	_, err := s.r.ReadAt(header[:], int64(page*s.survey.PageSize))
	return err != nil || boltfile.More(header[:]) > 0
}
