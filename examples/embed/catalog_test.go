package main

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

func TestRenameMeeting(t *testing.T) {
	catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
	require.NoError(t, err)
	defer catalog.Close()

	require.NoError(t, renameMeeting(t.Context(), catalog))
	require.Zero(t, catalog.Len())
}

func TestFollow(t *testing.T) {
	catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
	require.NoError(t, err)
	defer catalog.Close()
	_, err = catalog.Create(t.Context(), customstatus.Fields{Name: "the meeting", StatusType: customstatus.Busy})
	require.NoError(t, err)

	ctx, end := context.WithCancel(t.Context())
	defer end()
	var names []string
	err = follow(ctx, catalog, func(all []customstatus.CustomUserStatus) {
		names = append(names, all[0].Name)
		require.NoError(t, renameMeeting(t.Context(), catalog))
	}, func(changes []customstatus.Change) {
		names = append(names, changes[0].Status().Name)
		if len(names) == 4 {
			end()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"the meeting", "In a meeting", "Meeting", "Meeting"}, names)

	page, err := secondPage(catalog)
	require.NoError(t, err)
	require.Empty(t, page, "there is one page")
}

func TestBackup(t *testing.T) {
	t.Chdir(t.TempDir())
	catalog, err := customstatus.OpenFile(t.Context(), "chat.db", nil)
	require.NoError(t, err)
	defer catalog.Close()
	_, err = catalog.Create(t.Context(), customstatus.Fields{Name: "Lunch", StatusType: customstatus.Away})
	require.NoError(t, err)
	require.NoError(t, backup(t.Context(), catalog, "copy.db"))

	copied, err := customstatus.OpenFile(t.Context(), "copy.db", nil)
	require.NoError(t, err)
	defer copied.Close()
	require.Equal(t, catalog.Position(), copied.Position())
	left, err := filepath.Glob("backup*")
	require.NoError(t, err)
	require.Empty(t, left)
}
