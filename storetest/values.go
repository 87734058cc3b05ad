package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/customstatus/customstatus"
)

func valueCases() []testCase {
	const (
		says = "A store keeps every string to the byte and compares ids and names byte by byte. " +
			"Ids and names have up to [MaxIDLength] bytes and [MaxNameLength] characters;"
		times = "Times are in UTC with a resolution of one millisecond and a year from 0 to 9999, " +
			"and come back as the same instant, in UTC."
	)
	return []testCase{
		{"value-ids", says, func(t *tester) {
			s := t.start()
			ids := awkwardIDs()
			changes := make([]customstatus.Change, len(ids))
			for i, id := range ids {
				changes[i] = create(id, fmt.Sprint("name ", i))
			}
			r := t.commit(s, changes...)
			t.holds(s, "after creating statuses with awkward ids")
			for i, id := range ids {
				changes[i] = write(id, r, fmt.Sprint("new name ", i))
			}
			r = t.commit(s, changes...)
			t.holds(s, "after renaming statuses with awkward ids")
			for i, id := range ids {
				changes[i] = remove(id, r)
			}
			t.commit(s, changes[:len(ids)/2]...)
			t.holds(s, "after deleting half of the statuses with awkward ids")
		}},
		{"value-names", says, func(t *tester) {
			s := t.start()
			names := awkwardNames()
			changes := make([]customstatus.Change, len(names))
			for i, name := range names {
				changes[i] = create(fmt.Sprint("id ", i), name)
			}
			r := t.commit(s, changes...)
			t.holds(s, "after creating statuses with awkward names")
			// Every name goes to the next status.
			for i := range names {
				changes[i] = remove(fmt.Sprint("id ", i), r)
			}
			for i, name := range names {
				changes = append(changes, create(fmt.Sprint("new id ", (i+1)%len(names)), name))
			}
			t.commit(s, changes...)
			t.holds(s, "after handing awkward names on")
		}},
		{"value-names-unique", says, func(t *tester) {
			s := t.start()
			for i, name := range awkwardNames() {
				// One by one: only the bytes of the earlier names are taken.
				t.commit(s, create(fmt.Sprint("id ", i), name))
			}
			for _, name := range awkwardNames() {
				t.conflicts(s, "the name belongs to another status", create("new", name))
			}
		}},
		{"value-status-types", says, func(t *tester) {
			s := t.start()
			types := []customstatus.StatusType{
				customstatus.Online, customstatus.Away, customstatus.Busy, customstatus.Offline, "",
			}
			changes := make([]customstatus.Change, len(types))
			for i, statusType := range types {
				changes[i] = create(fmt.Sprint("id ", i), fmt.Sprint("name ", i))
				changes[i].Status.StatusType = statusType
			}
			r := t.commit(s, changes...)
			t.holds(s, "after creating a status of each type, the empty one included")
			for i := range changes {
				changes[i].Replaces = r
				changes[i].Status.StatusType = types[(i+1)%len(types)]
			}
			t.commit(s, changes...)
			t.holds(s, "after changing the types")
		}},
		{"value-times", times, func(t *tester) {
			s := t.start()
			changes := make([]customstatus.Change, len(awkwardTimes()))
			for i, at := range awkwardTimes() {
				changes[i] = create(fmt.Sprint("id ", i), fmt.Sprint("name ", i))
				changes[i].Status.UpdatedAt = at
			}
			t.commit(s, changes...)
			t.holds(s, "after creating statuses of awkward times")
		}},
	}
}

// awkward returns strings that are all different and that a store which folds,
// trims, escapes, truncates or guesses takes for others. All may be ids.
func awkward() []string {
	return []string{
		// Letter case, in some of its ways.
		"a", "A", "ß", "ss", "SS", "i", "I", "ı", "İ", "k", "\u212A", "ﬁ", "fi", "σ", "ς",
		// Normal forms, composed and not.
		"\u00E9", "e\u0301", "\u1EA1\u0306", "a\u0323\u0306", "\u00C5", "\u212B", "가", "\u1100\u1161",
		// White space and what can't be seen.
		"a ", " a", "a  b", "a b", "a\u00A0b", "a\u200Bb", "a\u2028b", "\uFEFFa", "a\u202Eb", "a\uFE0F",
		// Prefixes of others.
		"aa", "aaa", "ab",
		// What looks like something else.
		"0", "00", "-0", "1e3", "0x1", "null", "nil", "true", "NaN", "[]", "{}",
		// Patterns, paths and separators.
		"%", "_", "a%", "a_", "*", "a*", "?", "a?", ".", "..", "/", "//", "a/", "/a", "a/b", "../a", `\`, `\\`, `a\n`, `\u0061`,
		":", "a:b", "a:", ";", ",", "|", "#", "$", "=", "a=b", "--", "-", "~", "`", "(", "^a$", "%00", "%s",
		// Orders: by UTF-16 the first of each pair comes after the second.
		"\uFFFD", "\U00010000", "\uE000", "\U0010FFFF",
	}
}

// awkwardIDs returns ids that are all different, up to the greatest length.
func awkwardIDs() []string {
	const most = customstatus.MaxIDLength
	return slices.Concat(awkward(), []string{
		`"`, "'", "''", "&amp;", "&", "<", "<a>", "'; DROP TABLE statuses; --",
		strings.Repeat("a", most), strings.Repeat("a", most-1) + "b", strings.Repeat("a", most-1),
		strings.Repeat("\U0001F600", most/4), strings.Repeat("\U0001F600", most/4-1) + "\U0001F601",
		"EscbQinc8jmeXbpt7", "escbQinc8jmeXbpt7", "65462e97a2f73c7460e18f84", "018bc8a5-6d2a-7c3e-9b1f-2a4d5e6f7081",
	})
}

// awkwardNames returns names that are all different, up to the greatest length.
func awkwardNames() []string {
	const most = customstatus.MaxNameLength
	return slices.Concat(awkward(), []string{
		strings.Repeat("a", most), strings.Repeat("a", most-1) + "b", strings.Repeat("a", most-1),
		// 480 bytes, with the difference in the last, in the first and in the middle.
		strings.Repeat("\U0001F600", most),
		strings.Repeat("\U0001F600", most-1) + "\U0001F601",
		"\U0001F601" + strings.Repeat("\U0001F600", most-1),
		strings.Repeat("\U0001F600", most/2) + "\U0001F601" + strings.Repeat("\U0001F600", most/2-1),
		// A letter and as many marks as fit.
		"e" + strings.Repeat("\u0301", most-1),
	})
}

// awkwardTimes returns times at the ends of what there is, and around those of
// other representations.
func awkwardTimes() []time.Time {
	ms := time.Millisecond
	return []time.Time{
		time.Date(0, time.January, 1, 0, 0, 0, 0, time.UTC),
		time.Date(0, time.February, 29, 12, 0, 0, int(ms), time.UTC),
		{}, // year 1
		time.Time{}.Add(-ms),
		time.Date(1582, time.October, 10, 0, 0, 0, int(800*ms), time.UTC),
		time.Date(1677, time.September, 21, 0, 12, 43, 0, time.UTC), // before int64 nanoseconds
		time.Date(1899, time.December, 31, 23, 59, 59, int(999*ms), time.UTC),
		time.UnixMilli(-1).UTC(),
		time.UnixMilli(-1000).UTC(),
		time.UnixMilli(0).UTC(),
		time.UnixMilli(1).UTC(),
		time.Date(2000, time.February, 29, 23, 59, 59, int(100*ms), time.UTC),
		time.Date(2023, time.November, 4, 11, 51, 28, int(353*ms), time.UTC),
		time.Date(2038, time.January, 19, 3, 14, 8, int(ms), time.UTC), // after int32 seconds
		time.Date(2262, time.April, 11, 23, 47, 17, 0, time.UTC),       // after int64 nanoseconds
		time.Date(9999, time.December, 31, 23, 59, 59, int(999*ms), time.UTC),
	}
}
