package table

import (
	"testing"

	"github.com/stretchr/testify/require"
)

type pair struct{ id, name string }

func TestDraft(t *testing.T) {
	keys := Keys[pair]{ID: func(p *pair) string { return p.id }, Name: func(p *pair) string { return p.name }}
	one, two := &pair{"1", "a"}, &pair{"2", "b"}
	base, err := New(keys, []*pair{one, two}, 0)
	require.NoError(t, err)

	d := base.Draft(1, 4)
	renamed, three, four := &pair{"1", "c"}, &pair{"3", "a"}, &pair{"4", "d"}
	require.False(t, d.Touched("1"))
	d.Put(one, renamed)
	d.Put(nil, three)
	d.Put(two, nil)
	require.ErrorIs(t, d.Add([]*pair{four, {"5", "c"}}), ErrSameName)
	require.Len(t, d.Changes, 3, "all or none")
	require.NoError(t, d.Add([]*pair{four}))
	require.Equal(t, []Change[pair]{{one, renamed}, {nil, three}, {two, nil}, {nil, four}}, d.Changes)

	require.Equal(t, 3, d.Len())
	require.Same(t, three, d.ByName("a"))
	require.Same(t, renamed, d.ByID("1"))
	require.Nil(t, d.ByID("2"))
	for id, want := range map[string]struct{ touched, unused bool }{
		"1": {true, false}, "2": {true, false}, "3": {true, false}, "9": {false, true},
	} {
		require.Equal(t, want.touched, d.Touched(id), id)
		require.Equal(t, want.unused, d.Unused(id), id)
	}
	require.Equal(t, 2, base.Len(), "the base is as it was")
	require.Same(t, one, base.ByName("a"))
}

func TestTwins(t *testing.T) {
	there := &value{"1", "a"}
	table, err := New(valueKeys, []*value{there}, 0)
	require.NoError(t, err)
	d := table.Draft(1, 0)
	first, second, unnamed := &value{"2", "b"}, &value{"2", "c"}, &value{"", "d"}
	twins := d.Twins(5)
	for _, tt := range []struct{ v, sameID, sameName *value }{
		{&value{"1", "x"}, there, nil},
		{&value{"9", "a"}, nil, there},
		{first, nil, nil},
		{second, first, nil},
		{unnamed, nil, nil},
		{&value{"", "e"}, nil, nil}, // an empty id is none
		{&value{"", "d"}, nil, unnamed},
		{&value{"2", "b"}, second, first},
	} {
		sameID, sameName := twins(tt.v)
		require.Same(t, tt.sameID, sameID, "%v", tt.v)
		require.Same(t, tt.sameName, sameName, "%v", tt.v)
	}
}
