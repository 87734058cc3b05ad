package pairs_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/pairs"
	"github.com/customstatus/customstatus/internal/sentinel"
)

type changes []pairs.Change[value]

func (c changes) Len() int                     { return len(c) }
func (c changes) At(i int) pairs.Change[value] { return c[i] }

func created(id, name string) pairs.Change[value] {
	return pairs.Change[value]{Kind: pairs.Created, Before: &value{}, After: named(id, name)}
}

func updated(before value, name string) pairs.Change[value] {
	return pairs.Change[value]{Kind: pairs.Updated, Before: &before, After: named(before.id, name)}
}

func deleted(before value) pairs.Change[value] {
	return pairs.Change[value]{Kind: pairs.Deleted, Before: &before, After: &value{}}
}

func TestCommit(t *testing.T) {
	one, two := value{"1", "a", 4}, value{"2", "b", 5}
	for _, tt := range []struct {
		name     string
		changes  changes
		conflict bool
		text     string
	}{
		{"nothing", nil, false, "a commit without changes"},
		{"an unknown kind", changes{{Kind: 4, Before: &one, After: &one}}, false, "a change has the unknown kind 4"},
		{"another id", changes{{Kind: pairs.Updated, Before: &one, After: &two}}, false, `an update turns status "1" into status "2"`},
		{"one id twice", changes{updated(one, "c"), deleted(one)}, false, `the commit changes status "1" twice`},
		{"an id that exists", changes{created("1", "c")}, true, `status "1" exists already`},
		{"an id that does not exist", changes{deleted(value{id: "3"})}, true, `there is no status "3"`},
		{"another revision", changes{updated(value{"1", "a", 3}, "c")}, true, `status "1" is at revision 4, not 3`},
		{"another revision to delete", changes{deleted(value{"2", "b", 4})}, true, `status "2" is at revision 5, not 4`},
		{"a name that is taken", changes{created("3", "b")}, true, `the name "b" belongs to status "2"`},
		{"a name that an earlier change took", changes{updated(one, "c"), updated(two, "c")}, true, `the name "c" belongs to status "1"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := pairs.New(valueType, []value{one, two})
			err := s.Commit(tt.changes, 6)
			require.ErrorContains(t, err, tt.text)
			require.Equal(t, tt.conflict, errors.Is(err, sentinel.ErrConflict))
			require.ElementsMatch(t, []value{one, two}, s.Values())
		})
	}

	s := pairs.New(valueType, []value{one, two})
	all := changes{updated(one, "z"), created("3", "a"), deleted(two)}
	require.EqualValues(t, 'a'+'b', s.Fingerprint(all))
	require.NoError(t, s.Commit(all, 6))
	require.ElementsMatch(t, []value{{"1", "z", 6}, {"3", "a", 6}}, s.Values())
	require.EqualValues(t, 'z'+'a', s.Fingerprint(all))
	require.Zero(t, all[0].After.revision, "the changes stay as they are")
}

func TestFitRefusesUnknownKinds(t *testing.T) {
	one := value{"1", "a", 4}
	s := pairs.New(valueType, []value{one})
	for _, kind := range []pairs.Kind{0, 4} {
		_, _, err := valueType.Fit(pairs.Change[value]{Kind: kind, Before: &one, After: &one}, &s)
		require.ErrorContains(t, err, "unknown kind")
	}
}
