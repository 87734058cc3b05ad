package pairs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/pairs"
	"github.com/customstatus/customstatus/internal/table"
)

type value struct {
	id, name string
	revision uint64
}

var valueType = pairs.Type[value]{
	Keys: table.Keys[value]{
		ID:   func(v *value) string { return v.id },
		Name: func(v *value) string { return v.name },
	},
	Revision:    func(v *value) *uint64 { return &v.revision },
	Fingerprint: func(v *value) uint64 { return uint64(v.name[0]) },
}

func named(id, name string) *value { return &value{id: id, name: name} }

var errRefused = errors.New("refused")

func TestChange(t *testing.T) {
	s := pairs.New(valueType, []value{*named("1", "a"), *named("2", "b")})
	type step struct {
		id    string // of the value that goes
		value *value
	}
	change := func(steps ...step) error {
		return s.Change(len(steps), func(i int) (old, made *value, err error) {
			if made = steps[i].value; made != nil && s.ByName(made.name) != nil {
				return nil, nil, errRefused
			}
			return s.ByID(steps[i].id), made, nil
		})
	}
	// Names move on in turn, and the last step finds its name taken.
	before := s.Values()
	steps := []step{{"1", named("1", "c")}, {"2", named("2", "a")}, {"", named("3", "b")}, {"1", nil}}
	require.ErrorIs(t, change(append(steps, step{"", named("4", "b")})...), errRefused)
	require.ElementsMatch(t, before, s.Values(), "all or none")
	require.Equal(t, named("1", "a"), s.ByName("a"))
	require.Nil(t, s.ByName("c"))
	require.Nil(t, s.ByID("3"))

	require.NoError(t, change(steps...))
	require.ElementsMatch(t, []value{*named("2", "a"), *named("3", "b")}, s.Values())
	require.Equal(t, named("2", "a"), s.ByName("a"))
	require.Nil(t, s.ByName("c"))
	require.Nil(t, s.ByID("1"))
}

func TestRepeated(t *testing.T) {
	for ids, want := range map[string]string{
		"": "", "a": "", "a b c": "", "c b a": "", "a c b d": "",
		"a a": "a", "a b b": "b", "a b a": "a", "c b a b": "b", "b a c d a": "a",
	} {
		list := strings.Fields(ids)
		got, twice := pairs.Repeated(len(list), func(i int) string { return list[i] })
		require.Equal(t, want, got, ids)
		require.Equal(t, want != "", twice, ids)
	}
}
