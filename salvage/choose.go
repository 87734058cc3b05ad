package salvage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/bolt"
)

// newest reports whether the survey is that of the last commit.
func (s *salvor) newest() bool { return s.survey.Newest && !s.behind }

// choose returns what to save, and sets whether it is complete.
func (s *salvor) choose() []find {
	current := s.hasState && s.newest() && s.state.Transaction == s.survey.Transaction
	if current {
		s.last = s.state.Revision
	}
	best, disputes := s.best(reached, false)
	same := s.hasState && s.excess(best) == bolt.State{}
	// If the last transaction was not the store's, it was that of a host, or else
	// the state is an old one, and what it counts may be found, too: there must
	// be nothing amiss then.
	if same && (current || len(s.survey.Damages) == 0) {
		s.sure, s.result.Complete = true, true
		return best
	}
	if s.behind {
		s.problem(Uncertain, -1, nil, "the meta page is of transaction %d, but the state that it leads to of %d: later meta pages were lost, unless the file was compacted", s.survey.Transaction, s.state.Transaction)
	}
	s.scan()
	whole := s.survey.Whole(bolt.RecordBucket(s.catalog)) && len(s.gaps) == 0
	s.sure = s.newest() && !s.survey.Conflict && (same || !whole || !s.hasState)
	s.sure = s.sure && len(disputes) == 0 && !(current && uint64(len(best)) > s.state.Count)
	s.sure = s.sure && !slices.ContainsFunc(s.elsewhere, s.contradicts)
	s.sure = s.sure && !slices.ContainsFunc(s.wounds, func(w wound) bool { return s.several(w.page) })
	s.suspectPages()
	s.elsewhere = slices.DeleteFunc(s.elsewhere, func(f find) bool {
		return f.record.Revision > s.last || !s.lost(f.record.ID) && !s.reached[f.record.ID].suspect
	})
	for t := severed; current && t <= beyond; t++ {
		for _, distrust := range []bool{false, true} {
			best, _ = s.best(t, distrust)
			if best, s.result.Complete = s.fit(best); s.result.Complete {
				return best
			}
		}
	}
	best, disputes = s.best(beyond, false)
	s.result.Problems = append(s.result.Problems, disputes...)
	return best
}

// contradicts reports whether a record can't be where it is if what was reached
// is the last commit's: on a page that is not free, though none that could have
// it is lost.
func (s *salvor) contradicts(f find) bool {
	return (f.trust == severed || f.trust == orphan && s.survey.Listed) && !s.lost(f.record.ID)
}

// lost reports whether the last commit may have another record of an id than
// what was reached.
func (s *salvor) lost(id string) bool {
	if !s.sure {
		return true
	}
	if _, ok := s.reached[id]; ok {
		return false
	}
	return among(s.gaps, id) || among(s.old, id) ||
		s.survey.Lost(bolt.RecordBucket(s.catalog), []byte(id))
}

// best returns the newest record of each id among those that are trusted so far,
// in the order of ids, and a problem for each that is left out because of its
// name. With distrust, a newer record of any kind beats one on a suspect page.
func (s *salvor) best(worst trust, distrust bool) (best []find, disputes []Problem) {
	byID := maps.Clone(s.reached)
	for _, f := range s.elsewhere {
		if f.trust > worst {
			continue
		}
		old, ok := byID[f.record.ID]
		if !ok || f.beats(old) || distrust && old.suspect && f.record.Revision > old.record.Revision {
			byID[f.record.ID] = f
		}
	}
	best = slices.SortedFunc(maps.Values(byID), func(a, b find) int {
		return cmp.Or(cmp.Compare(a.trust, b.trust), cmp.Compare(b.record.Revision, a.record.Revision), strings.Compare(a.record.ID, b.record.ID))
	})
	owners := make(map[string]string, len(best))
	best = slices.DeleteFunc(best, func(f find) bool {
		owner, taken := owners[f.record.Name]
		if taken {
			disputes = append(disputes, Problem{LeftOut, int64(f.page), status(&f.record),
				fmt.Sprintf("the name belongs to status %q, which is newer or better founded", owner)})
			return true
		}
		owners[f.record.Name] = f.record.ID
		return false
	})
	slices.SortFunc(best, func(a, b find) int { return strings.Compare(a.record.ID, b.record.ID) })
	return best, disputes
}

// excess returns the count and the digest of what these records are more than
// those that the store says it has.
func (s *salvor) excess(best []find) bolt.State {
	more := bolt.State{Count: -s.state.Count, Digest: -s.state.Digest}
	for _, f := range best {
		more.Count++
		more.Digest += bolt.Mix(f.sum)
	}
	return more
}

// fit reports whether these are the records that the store says it has, once up to
// two are left out, and returns the rest.
func (s *salvor) fit(best []find) ([]find, bool) {
	more := s.excess(best)
	switch more.Count {
	case 0:
		return best, more.Digest == 0
	case 1:
		for i, f := range best {
			if bolt.Mix(f.sum) == more.Digest {
				return slices.Delete(best, i, i+1), true
			}
		}
	case 2:
		seen := make(map[uint64]int, len(best))
		for i, f := range best {
			if j, ok := seen[more.Digest-bolt.Mix(f.sum)]; ok {
				return slices.Delete(slices.Delete(best, i, i+1), j, j+1), true
			}
			seen[bolt.Mix(f.sum)] = i
		}
	}
	return best, false
}

const oldPage = "its page seems to be an old one, as something newer than what it has was found where nothing leads to; it may be older than the last commit, or deleted by it"

// conclude makes the result of what was chosen.
func (s *salvor) conclude(best []find) {
	var revision uint64
	if s.hasState {
		revision = s.state.Revision
	}
	for _, f := range best {
		s.result.Statuses = append(s.result.Statuses, status(&f.record))
		revision = max(revision, f.record.Revision)
		switch {
		case s.result.Complete:
		case s.hasState && f.record.Revision > s.state.Revision:
			s.problem(Doubtful, int64(f.page), &f.record, "newer than the last commit that is known of, it may never have been committed")
		case f.trust != reached:
			s.problem(Doubtful, int64(f.page), &f.record, "%s", f.trust.doubt())
		case f.suspect:
			s.problem(Doubtful, int64(f.page), &f.record, "%s", oldPage)
		}
	}
	s.result.Revision = customstatus.Revision(revision)
	s.mentionWounds(best)
	if s.newest() && !s.sure {
		reason := "some pages do not fit together, and it can't be told which are at fault"
		if !s.result.Complete {
			reason += ": any status may be older than the last commit, or deleted by it"
		}
		s.problem(Uncertain, -1, nil, "%s", reason)
	}
	if !s.result.Complete {
		s.mentionCount(best)
	}
}

// mentionCount says how many statuses there were and how many were saved.
func (s *salvor) mentionCount(best []find) {
	saved := uint64(len(best))
	switch {
	case !s.hasState:
		s.problem(Uncertain, -1, nil, "it is not known how many statuses there were; %d were saved", saved)
	case !s.newest():
		s.problem(Uncertain, -1, nil, "a meta page is damaged or outdated, or it can't be told that none is: what the last commits did may be lost in part; the last one that can be read left %d statuses, %d were saved", s.state.Count, saved)
	case saved < s.state.Count:
		orMore := ""
		if slices.ContainsFunc(best, func(f find) bool { return f.trust != reached }) {
			orMore = " or more"
		}
		s.problem(Uncertain, -1, nil, "the last commit left %d statuses: %d were saved, %d%s missing; while any is, it can't be told whether all others are as it left them", s.state.Count, saved, s.state.Count-saved, orMore)
	default:
		s.problem(Uncertain, -1, nil, "the last commit left %d statuses, %d were saved, and it can't be told that they are the same", s.state.Count, saved)
	}
}
