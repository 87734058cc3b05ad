package memory_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/memory"
	"github.com/customstatus/customstatus/internal/pairs"
	"github.com/customstatus/customstatus/internal/sentinel"
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
	Revision: func(v *value) *uint64 { return &v.revision },
}

// creation is a commit that creates one value.
type creation value

func (c creation) Len() int { return 1 }

func (c creation) At(int) pairs.Change[value] {
	return pairs.Change[value]{Kind: pairs.Created, Before: &value{}, After: (*value)(&c)}
}

func TestStore(t *testing.T) {
	ctx := t.Context()
	s := memory.Store[value]{Values: pairs.New(valueType, nil)}
	for i, id := range []string{"1", "2"} {
		revision, err := s.Commit(ctx, creation{id: id, name: id})
		require.NoError(t, err)
		require.EqualValues(t, i+1, revision)
	}
	_, err := s.Commit(ctx, creation{id: "3", name: "1"})
	require.ErrorIs(t, err, sentinel.ErrConflict)
	require.ErrorContains(t, err, "memory: ")
	values, revision, err := s.Load(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 2, revision, "a refused commit has no revision")
	require.ElementsMatch(t, []value{{"1", "1", 1}, {"2", "2", 2}}, values)

	done, cancel := context.WithCancel(ctx)
	cancel()
	check := func(ctx context.Context, want error) {
		t.Helper()
		_, _, err := s.Load(ctx)
		require.ErrorIs(t, err, want)
		_, err = s.Commit(ctx, creation{id: "3", name: "3"})
		require.ErrorIs(t, err, want)
		_, err = s.Revision(ctx)
		require.ErrorIs(t, err, want)
	}
	check(done, context.Canceled)
	s.Close()
	check(ctx, sentinel.ErrClosed)
	check(done, sentinel.ErrClosed)
	s.Close()
}
