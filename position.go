package customstatus

import (
	"fmt"

	"github.com/customstatus/customstatus/internal/fingerprint"
	"github.com/customstatus/customstatus/internal/history"
)

// Revision numbers the states of a catalog. A new catalog is at revision 0, and
// every commit gives it a greater one. The same number orders the change feed,
// resumes a watcher, and guards a conditional write.
type Revision uint64

// Fingerprint identifies the contents of a catalog. It is the sum, modulo 2^64, of
// [CustomUserStatus.Fingerprint] over the statuses, and 0 for an empty catalog.
// Equal statuses give equal fingerprints in every process, store and version,
// whatever the revisions. It detects accidental differences. It isn't a cryptographic
// hash.
type Fingerprint uint64

// Position is a revision together with the fingerprint of the catalog at that
// revision. A revision alone does not tell one history from another: a restored
// backup counts on from an older number. So what leaves the process, to be compared
// or resumed from later, is a Position. The zero value is that of a new catalog.
type Position struct {
	Revision    Revision
	Fingerprint Fingerprint
}

func positionOf(p history.Position) Position {
	return Position{Revision(p.Revision), Fingerprint(p.Fingerprint)}
}

func (p Position) inHistory() history.Position {
	return history.Position{Revision: uint64(p.Revision), Fingerprint: uint64(p.Fingerprint)}
}

// String returns the text form: the revision in decimal, a hyphen, and the
// fingerprint in sixteen hexadecimal digits, as in 42-9f3a07c1d2e4b586.
func (p Position) String() string {
	return fingerprint.FormatPosition(uint64(p.Revision), uint64(p.Fingerprint))
}

// ParsePosition parses the text form that [Position.String] returns. Any other text
// is an error.
func ParsePosition(s string) (Position, error) {
	revision, sum, ok := fingerprint.ParsePosition(s)
	if !ok {
		return Position{}, fmt.Errorf("customstatus: not a position: %.64q", s)
	}
	return Position{Revision(revision), Fingerprint(sum)}, nil
}

// MarshalText returns the text form, see [Position.String].
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText parses the text form, see [ParsePosition].
func (p *Position) UnmarshalText(text []byte) error {
	parsed, err := ParsePosition(string(text))
	if err == nil {
		*p = parsed
	}
	return err
}
