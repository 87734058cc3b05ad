package customstatus

import (
	"fmt"
	"strconv"
	"strings"
)

// Revision numbers the states of a catalog. A catalog that was never written
// is at revision 0, and every commit gives it a greater one. The same number
// orders the change feed, resumes a watcher, and guards a conditional write.
type Revision uint64

// Fingerprint stands for all that a catalog holds: the sum, modulo 2^64, of
// [CustomUserStatus.Fingerprint] over its statuses. An empty catalog has
// fingerprint 0. Two catalogs with the same statuses have the same fingerprint,
// whichever process, store or version holds them; revisions don't count. It finds
// what went wrong, not who meant it to: it is no protection against people who
// choose statuses for their fingerprint.
type Fingerprint uint64

// Position is a revision together with what the catalog held at it. Revisions
// alone don't tell one history from another: a backup that was restored counts on
// from an older number. So a Position is what leaves the process, to be
// compared or resumed from later. The zero value is the start of a catalog
// that was never written.
type Position struct {
	Revision    Revision
	Fingerprint Fingerprint
}

// String returns the text form: the revision in decimal, a hyphen, and the
// fingerprint in sixteen hexadecimal digits, as in 42-9f3a07c1d2e4b586.
func (p Position) String() string { return string(p.append(nil)) }

func (p Position) append(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(p.Revision), 10)
	return fmt.Appendf(b, "-%016x", uint64(p.Fingerprint))
}

// ParsePosition is the reverse of [Position.String]. It takes no other form.
func ParsePosition(s string) (Position, error) {
	revision, fingerprint, found := strings.Cut(s, "-")
	r, err1 := strconv.ParseUint(revision, 10, 64)
	f, err2 := strconv.ParseUint(fingerprint, 16, 64)
	p := Position{Revision(r), Fingerprint(f)}
	if !found || err1 != nil || err2 != nil || p.String() != s {
		return Position{}, fmt.Errorf("customstatus: not a position: %.64q", s)
	}
	return p, nil
}

// MarshalText returns the text form, see [Position.String].
func (p Position) MarshalText() ([]byte, error) { return p.append(nil), nil }

// UnmarshalText reads the text form, see [ParsePosition].
func (p *Position) UnmarshalText(text []byte) error {
	parsed, err := ParsePosition(string(text))
	if err == nil {
		*p = parsed
	}
	return err
}
