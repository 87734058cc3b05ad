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

// newest reports whether the survey describes the last commit.
func (s *salvor) newest() bool { return s.survey.Newest && !s.behind }

// choose returns the records to save, and sets result.Complete.
func (s *salvor) choose() []find {
	current := s.hasState && s.newest() && s.state.Transaction == s.survey.Transaction
	if current {
		s.last = s.state.Revision
	}
	best, disputes := s.best(reached, false)
	same := s.hasState && s.excess(best) == bolt.State{}
	// If the state is not of the last transaction, either a host made that
	// transaction, or the state is outdated and its old records may be found as
	// well. So the result is only complete if there is no damage at all.
	if same && (current || len(s.survey.Damages) == 0) {
		s.sure, s.result.Complete = true, true
		return best
	}
	if s.behind {
		s.problem(Uncertain, -1, nil, "the meta page is of transaction %d, but leads to a state of transaction %d: later meta pages were lost, unless the file was compacted", s.survey.Transaction, s.state.Transaction)
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

// contradicts reports whether a record contradicts the assumption that the
// reached records are the last commit's. The record is on a page that is not
// free, although no page that could have the id is lost.
func (s *salvor) contradicts(f find) bool {
	return (f.trust == severed || f.trust == orphan && s.survey.Listed) && !s.lost(f.record.ID)
}

// lost reports whether the last commit may have a record of an id other than
// the reached one.
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

// best returns the newest record of each id, in order of ids, among the records
// that are trusted at least as much as worst. It returns a problem for each
// record that it leaves out because of its name. With distrust, any newer
// record beats a record on a suspect page.
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
				fmt.Sprintf("the name belongs to status %q, which is newer or better proven", owner)})
			return true
		}
		owners[f.record.Name] = f.record.ID
		return false
	})
	slices.SortFunc(best, func(a, b find) int { return strings.Compare(a.record.ID, b.record.ID) })
	return best, disputes
}

// excess returns the count and digest of the records minus the count and digest
// of the state.
func (s *salvor) excess(best []find) bolt.State {
	more := bolt.State{Count: -s.state.Count, Digest: -s.state.Digest}
	for _, f := range best {
		more.Count++
		more.Digest += bolt.Mix(f.sum)
	}
	return more
}

// fit leaves out up to two records to make the rest match the state's count and
// digest. It returns the rest and reports whether they match.
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

const oldPage = "its page seems to be outdated, because a newer record was found on a page that nothing leads to; the last commit may have a newer version or have deleted the status"

// conclude fills in the result for the chosen records.
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
			s.problem(Doubtful, int64(f.page), &f.record, "it is newer than the last known commit, and may never have been committed")
		case f.trust != reached:
			s.problem(Doubtful, int64(f.page), &f.record, "%s", f.trust.doubt())
		case f.suspect:
			s.problem(Doubtful, int64(f.page), &f.record, "%s", oldPage)
		}
	}
	s.result.Revision = customstatus.Revision(revision)
	s.mentionWounds(best)
	if s.newest() && !s.sure {
		reason := "some pages contradict each other, and it is not known which are wrong"
		if !s.result.Complete {
			reason += ": the last commit may have a newer version of any status or have deleted it"
		}
		s.problem(Uncertain, -1, nil, "%s", reason)
	}
	if !s.result.Complete {
		s.mentionCount(best)
	}
}

// mentionCount adds a problem with the number of statuses that there were and
// the number of saved ones.
func (s *salvor) mentionCount(best []find) {
	saved := uint64(len(best))
	switch {
	case !s.hasState:
		s.problem(Uncertain, -1, nil, "it is not known how many statuses there were; %d were saved", saved)
	case !s.newest():
		s.problem(Uncertain, -1, nil, "a meta page may be damaged or outdated, so changes of the last commits may be lost; the last readable commit left %d statuses, %d were saved", s.state.Count, saved)
	case saved < s.state.Count:
		orMore := ""
		if slices.ContainsFunc(best, func(f find) bool { return f.trust != reached }) {
			orMore = " or more"
		}
		s.problem(Uncertain, -1, nil, "the last commit left %d statuses: %d were saved, %d%s are missing; so it can't be proven that the saved ones are unchanged", s.state.Count, saved, s.state.Count-saved, orMore)
	default:
		s.problem(Uncertain, -1, nil, "the last commit left %d statuses, %d were saved, and it can't be proven that they are the same", s.state.Count, saved)
	}
}
