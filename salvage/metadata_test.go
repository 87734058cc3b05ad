package salvage

import (
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/stretchr/testify/require"
)

// File saves all fields of a status. The other tests make their expected
// statuses with the package's own function, and so don't notice a missing
// field.
func TestFileSavesAllFields(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	catalog, err := customstatus.OpenFile(t.Context(), path, nil)
	require.NoError(t, err)
	metadata := "\xff\x00 {\"emoji\":\":beer:\"}"
	want, err := catalog.Create(t.Context(), customstatus.Fields{Name: "a", StatusType: customstatus.Away, Metadata: &metadata})
	require.NoError(t, err)
	require.NoError(t, catalog.Close())
	saved, err := File(path, nil)
	require.NoError(t, err)
	require.True(t, saved.Complete)
	require.Equal(t, []customstatus.CustomUserStatus{want}, saved.Statuses)
}
