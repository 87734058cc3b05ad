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
		says   = "A store keeps every string to the byte and compares ids and names byte by byte."
		passes = "A [Catalog] passes ids of 1 to [MaxIDBytes] bytes, names of 1 to [MaxNameCharacters] characters, " +
			"and status types, all valid UTF-8; the status type may be empty."
		metadata = "Metadata has up to [MaxMetadataBytes] bytes of any value."
		times    = "Times are in UTC with a resolution of one millisecond and a year from 0 to 9999, " +
			"and come back as the same instant, in UTC."
	)
	return []testCase{
		{name: "value-status-types", says: passes, run: func(t *tester) {
			s := t.start()
			types := []customstatus.StatusType{
				customstatus.Online, customstatus.Away, customstatus.Busy, customstatus.Offline, "",
			}
			changes := make([]customstatus.Change, len(types))
			for i, statusType := range types {
				changes[i] = create(fmt.Sprint("id ", i), fmt.Sprint("name ", i))
				changes[i].After.StatusType = statusType
			}
			t.commit(s, changes...)
			t.holds(s, "after creating a status of each type, the empty one included")
			for i := range changes {
				changes[i] = t.put(fmt.Sprint("id ", i), fmt.Sprint("name ", i))
				changes[i].After.StatusType = types[(i+1)%len(types)]
			}
			t.commit(s, changes...)
			t.holds(s, "after changing the types")
		}},
		{name: "value-times", says: times, run: func(t *tester) {
			s := t.start()
			changes := make([]customstatus.Change, len(awkwardTimes()))
			for i, at := range awkwardTimes() {
				changes[i] = create(fmt.Sprint("id ", i), fmt.Sprint("name ", i))
				changes[i].After.UpdatedAt = at
			}
			t.commit(s, changes...)
			t.holds(s, "after creating statuses of awkward times")
		}},
		{name: "value-metadata", says: metadata, run: func(t *tester) {
			s := t.start()
			all := awkwardMetadata()
			changes := make([]customstatus.Change, len(all))
			for i, metadata := range all {
				changes[i] = create(fmt.Sprint("id ", i), fmt.Sprint("name ", i))
				changes[i].After.Metadata = metadata
			}
			t.commit(s, changes...)
			t.holds(s, "after creating statuses with awkward metadata")
			for i := range all {
				changes[i] = t.put(fmt.Sprint("id ", i), fmt.Sprint("name ", i))
				changes[i].After.Metadata = all[(i+1)%len(all)]
			}
			t.commit(s, changes...)
			t.holds(s, "after changing nothing but the metadata")
			for i := range all {
				changes[i] = t.put(fmt.Sprint("id ", i), fmt.Sprint("new name ", i))
			}
			t.commit(s, changes...)
			t.holds(s, "after changing the names but not the metadata")
		}},
		{name: "value-ids", says: says, run: func(t *tester) {
			s := t.start()
			ids := awkwardIDs()
			changes := make([]customstatus.Change, len(ids))
			for i, id := range ids {
				changes[i] = create(id, fmt.Sprint("name ", i))
			}
			t.commitAll(s, changes...)
			t.holds(s, "after creating statuses with awkward ids")
			for i, id := range ids {
				changes[i] = t.put(id, fmt.Sprint("new name ", i))
			}
			t.commitAll(s, changes...)
			t.holds(s, "after renaming statuses with awkward ids")
			for i, id := range ids {
				changes[i] = t.removeNow(id)
			}
			t.commitAll(s, changes[:len(ids)/2]...)
			t.holds(s, "after deleting half of the statuses with awkward ids")
		}},
		{name: "value-names", says: says, run: func(t *tester) {
			s := t.start()
			names := awkwardNames()
			changes := make([]customstatus.Change, len(names))
			for i, name := range names {
				changes[i] = create(fmt.Sprint("id ", i), name)
			}
			t.commitAll(s, changes...)
			t.holds(s, "after creating statuses with awkward names")
			// Every name goes to the next status.
			for i := range names {
				changes[i] = t.removeNow(fmt.Sprint("id ", i))
			}
			for i, name := range names {
				changes = append(changes, create(fmt.Sprint("new id ", (i+1)%len(names)), name))
			}
			t.commitAll(s, changes...)
			t.holds(s, "after handing awkward names on")
		}},
		{name: "value-names-unique", says: says, run: func(t *tester) {
			s := t.start()
			for i, name := range awkwardNames() {
				// One by one: a name is only taken if all its bytes are the
				// same.
				t.commit(s, create(fmt.Sprint("id ", i), name))
			}
			for _, name := range awkwardNames() {
				t.conflicts(s, "the name belongs to another status", create("new", name))
			}
		}},
	}
}

// awkward returns distinct strings that a store confuses if it folds, trims,
// escapes, truncates or converts them. All are valid ids.
func awkward() []string {
	return []string{
		// Letter case, in some of its ways.
		"a", "A", "ß", "ss", "SS", "i", "I", "ı", "İ", "k", "\u212A", "ﬁ", "fi", "σ", "ς",
		// Normal forms, composed and not.
		"\u00E9", "e\u0301", "\u1EA1\u0306", "a\u0323\u0306", "\u00C5", "\u212B", "가", "\u1100\u1161",
		// White space and invisible characters.
		"a ", " a", "a  b", "a b", "a\u00A0b", "a\u200Bb", "a\u2028b", "\uFEFFa", "a\u202Eb", "a\uFE0F",
		// Prefixes of other strings.
		"aa", "aaa", "ab",
		// Strings that look like other types.
		"0", "00", "-0", "1e3", "0x1", "null", "nil", "true", "NaN", "[]", "{}",
		// Patterns, paths and separators.
		"%", "_", "a%", "a_", "*", "a*", "?", "a?", ".", "..", "/", "//", "a/", "/a", "a/b", "../a", `\`, `\\`, `a\n`, `\u0061`,
		":", "a:b", "a:", ";", ",", "|", "#", "$", "=", "a=b", "--", "-", "~", "`", "(", "^a$", "%00", "%s",
		// Orders: by UTF-16 the first of each pair comes after the second.
		"\uFFFD", "\U00010000", "\uE000", "\U0010FFFF",
	}
}

// awkwardIDs returns distinct ids of up to the greatest length.
func awkwardIDs() []string {
	const most = customstatus.MaxIDBytes
	return slices.Concat(awkward(), []string{
		`"`, "'", "''", "&amp;", "&", "<", "<a>", "'; DROP TABLE statuses; --",
		strings.Repeat("a", most), strings.Repeat("a", most-1) + "b", strings.Repeat("a", most-1),
		strings.Repeat("\U0001F600", most/4), strings.Repeat("\U0001F600", most/4-1) + "\U0001F601",
		"EscbQinc8jmeXbpt7", "escbQinc8jmeXbpt7", "65462e97a2f73c7460e18f84", "018bc8a5-6d2a-7c3e-9b1f-2a4d5e6f7081",
	})
}

// awkwardNames returns distinct names of up to the greatest length.
func awkwardNames() []string {
	const most = customstatus.MaxNameCharacters
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

// awkwardMetadata returns distinct metadata of up to the greatest length, with
// all byte values.
func awkwardMetadata() []string {
	const most = customstatus.MaxMetadataBytes
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	return []string{
		"", "\x00", "\x00\x00", " ", "\n", "\r\n", "null", "{}", `{"emoji":"☕"}`, `"\u0000"`, "<a>&amp;",
		"a\x00b", "a", "\xff", "\xfe", "\xff\xfe", "\uFFFD", "\xc3", "\xc3\x28", "\xed\xa0\x80", "\xf0\x9f\x98",
		string(every), strings.Repeat("m", most), strings.Repeat("\x00", most), strings.Repeat("\xff", most),
		strings.Repeat(string(every), most/len(every)), strings.Repeat("m", most-1),
	}
}

// largestStatus returns a status with the longest strings that a catalog
// passes. The prefix makes the status unique.
func largestStatus(prefix string) customstatus.CustomUserStatus {
	id := prefix + strings.Repeat("i", customstatus.MaxIDBytes-len(prefix))
	s := status(id, prefix+strings.Repeat("\U0001F600", customstatus.MaxNameCharacters-len(prefix)))
	s.Metadata = prefix + strings.Repeat("\x00", customstatus.MaxMetadataBytes-len(prefix))
	return s
}

// awkwardTimes returns times at the ends of the valid range, and around the
// ends of other representations.
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
