// Package churn makes random changes to the statuses of a catalog, for tests of
// stores. It knows no store: a test converts the changes to those of its store.
package churn

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Change is a random change of one status.
type Change struct {
	ID string
	// Before is the revision of the status before an update or a deletion, and 0
	// for a creation.
	Before  uint64
	Deleted bool
	// The fields after a creation or an update.
	Name, Type, Metadata string
	UpdatedAt            int64 // milliseconds since 1970
}

// Source is a source of random changes. The same seed gives the same changes.
// Only one goroutine at a time may use it.
type Source struct {
	random  *rand.Rand
	ids     int
	collide bool // names of this commit are often in use
}

// New returns a Source with a seed.
func New(seed uint64) *Source {
	return &Source{random: rand.New(rand.NewPCG(seed, seed))}
}

// Changes returns one to n changes of different ids: creations, updates, renames
// and deletions. Some names may be in use, so that a store must refuse the
// changes. The statuses with the sorted ids exist; known returns the name and the
// revision of one.
func (s *Source) Changes(n int, ids []string, known func(id string) (name string, revision uint64)) []Change {
	var changes []Change
	s.collide = s.random.IntN(4) == 0
	picked := make(map[string]bool)
	for range 1 + s.random.IntN(n) {
		kind := s.random.IntN(10)
		c := Change{
			Name:      s.name(),
			Type:      [...]string{"busy", "away", "", "other"}[s.random.IntN(4)],
			UpdatedAt: s.random.Int64N(1 << 41),
			Metadata:  s.metadata(),
		}
		if kind < 5 || len(ids) == 0 {
			c.ID = s.id()
		} else {
			c.ID = ids[s.random.IntN(len(ids))]
			var name string
			name, c.Before = known(c.ID)
			switch kind {
			case 5:
				c = Change{ID: c.ID, Before: c.Before, Deleted: true}
			case 6, 7:
				c.Name = name
			}
		}
		if !picked[c.ID] {
			picked[c.ID] = true
			changes = append(changes, c)
		}
	}
	return changes
}

func (s *Source) id() string {
	s.ids++
	if s.random.IntN(4) == 0 { // some ids are not in order
		return fmt.Sprintf("%x-%d", s.random.Uint32(), s.ids)
	}
	return fmt.Sprintf("0192f3c4-%08d-7000-8000-000000000000", s.ids)
}

func (s *Source) name() string {
	switch s.random.IntN(10) {
	case 0:
		return strings.Repeat("😀", 112) + fmt.Sprintf("%08d", s.random.IntN(1e6))
	case 1, 2, 3:
		if s.collide {
			return fmt.Sprintf("name %d", s.random.IntN(20))
		}
	}
	return fmt.Sprintf("In a meeting, number %d", s.random.IntN(1e9))
}

// metadata is absent, short, invalid UTF-8, or up to 4096 bytes long.
func (s *Source) metadata() string {
	if s.random.IntN(8) > 0 {
		return ""
	}
	switch n := s.random.IntN(100); {
	case n < 20:
		return strings.Repeat("m", 4096*(n+1)/20)
	case n < 60:
		return fmt.Sprintf(`{"emoji":":beer:","order":%d}`, n)
	default:
		return fmt.Sprintf("\xff%d", n)
	}
}
