package pgstore

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A load takes time, and commits don't wait for it.
func TestMemoryOfLoads(t *testing.T) {
	at := func(revision uint64, history byte) position {
		return position{revision, token{history, byte(revision)}}
	}
	for _, tt := range []struct {
		name    string
		told    []position
		before  position
		loaded  position
		want    position
		forgets []position
	}{
		{"the first", nil, position{}, at(3, 'a'), at(3, 'a'), nil},
		{"nothing new", []position{at(9, 'a'), at(10, 'a')}, at(10, 'a'), at(10, 'a'), at(10, 'a'), []position{at(9, 'a')}},
		{"a commit in the meantime", []position{at(10, 'a'), at(11, 'a')}, at(10, 'a'), at(10, 'a'), at(11, 'a'), nil},
		{"commits of others and then one in the meantime", []position{at(10, 'a'), at(13, 'a')}, at(10, 'a'), at(11, 'a'), at(13, 'a'), []position{at(10, 'a')}},
		{"the commit in the meantime was read", []position{at(10, 'a'), at(11, 'a')}, at(10, 'a'), at(11, 'a'), at(11, 'a'), []position{at(10, 'a')}},
		{"commits of others", []position{at(10, 'a')}, at(10, 'a'), at(15, 'a'), at(15, 'a'), []position{at(10, 'a')}},
		{"the database went back", []position{at(10, 'a'), at(11, 'a')}, at(11, 'a'), at(10, 'a'), at(10, 'a'), []position{at(11, 'a')}},
		{"another history", []position{at(10, 'a'), at(11, 'a')}, at(11, 'a'), at(11, 'b'), at(11, 'b'), []position{at(10, 'a')}},
		{"another history in the meantime", []position{at(10, 'a'), at(11, 'a')}, at(10, 'a'), at(10, 'b'), at(10, 'b'), []position{at(11, 'a')}},
		{"a commit in another history", []position{at(9, 'a'), at(11, 'b')}, at(11, 'b'), at(11, 'b'), at(11, 'b'), []position{at(9, 'a')}},
		{"and then one in the meantime", []position{at(9, 'a'), at(11, 'b'), at(12, 'b')}, at(11, 'b'), at(11, 'b'), at(12, 'b'), []position{at(9, 'a')}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var m memory
			for _, p := range tt.told {
				m.add(p)
			}
			m.loaded(tt.loaded, tt.before)
			require.Equal(t, tt.want, m.last)
			require.False(t, m.contradicts(tt.loaded))
			require.Equal(t, tt.loaded.token, m.tokens[tt.loaded.revision])
			late := at(tt.loaded.revision-1, 'x')
			m.add(late)
			require.NotEqual(t, late.token, m.tokens[late.revision], "the late answer to a commit")
			for _, p := range tt.told {
				require.Equal(t, m.tokens[p.revision] != token{}, slices.Contains(m.order, p.revision))
				if p.revision != tt.loaded.revision {
					_, there := m.tokens[p.revision]
					require.Equal(t, !slices.Contains(tt.forgets, p), there, "revision %d", p.revision)
				}
			}
		})
	}
}
