package pairs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/pairs"
	"github.com/customstatus/customstatus/internal/table"
)

type value struct{ id, name string }

var keys = table.Keys[value]{
	ID:   func(v *value) string { return v.id },
	Name: func(v *value) string { return v.name },
}

var errRefused = errors.New("refused")

func TestChange(t *testing.T) {
	s := pairs.New(keys, []value{{"1", "a"}, {"2", "b"}})
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
	steps := []step{{"1", &value{"1", "c"}}, {"2", &value{"2", "a"}}, {"", &value{"3", "b"}}, {"1", nil}}
	require.ErrorIs(t, change(append(steps, step{"", &value{"4", "b"}})...), errRefused)
	require.ElementsMatch(t, before, s.Values(), "all or none")
	require.Equal(t, &value{"1", "a"}, s.ByName("a"))
	require.Nil(t, s.ByName("c"))
	require.Nil(t, s.ByID("3"))

	require.NoError(t, change(steps...))
	require.ElementsMatch(t, []value{{"2", "a"}, {"3", "b"}}, s.Values())
	require.Equal(t, &value{"2", "a"}, s.ByName("a"))
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
