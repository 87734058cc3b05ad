//go:build unix

package salvage

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Opening a pipe without a writer would wait for ever.
func TestFileDoesNotWaitForAPipe(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	_, err := File(path, nil)
	require.ErrorContains(t, err, "not a regular file")
	file, _, err := openRegular(path)
	require.ErrorContains(t, err, "not a regular file")
	require.Nil(t, file)
}
