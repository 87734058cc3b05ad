package salvage

import (
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/stretchr/testify/require"
)

// Whatever a status has is saved: the other tests make what they expect in the
// same way as the package makes its result.
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
