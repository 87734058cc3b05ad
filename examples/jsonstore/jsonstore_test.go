//go:build unix

package jsonstore_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/examples/jsonstore"
	"github.com/customstatus/customstatus/storetest"
	"github.com/stretchr/testify/require"
)

func TestStoreConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		dir := t.TempDir()
		return func() (customstatus.Store, error) { return jsonstore.Open(dir) }
	})
}

// The author of a store must test what storetest can't: a second process, and
// damage.

// dirVariable names the directory that TestOtherProcess opens in the child
// process.
const dirVariable = "JSONSTORE_DIR"

func TestOtherProcess(t *testing.T) {
	if dir := os.Getenv(dirVariable); dir != "" {
		_, err := jsonstore.Open(dir)
		require.ErrorIs(t, err, customstatus.ErrLocked)
		return
	}
	dir := t.TempDir()
	store, err := jsonstore.Open(dir)
	require.NoError(t, err)
	defer store.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestOtherProcess$")
	cmd.Env = append(os.Environ(), dirVariable+"="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestDamage(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	store, err := jsonstore.Open(dir)
	require.NoError(t, err)
	defer store.Close()
	_, err = store.Commit(ctx, []customstatus.Change{{Kind: customstatus.Created, After: customstatus.CustomUserStatus{ID: "a", Name: "x"}}})
	require.NoError(t, err)
	path := filepath.Join(dir, "statuses.json")
	sound, err := os.ReadFile(path)
	require.NoError(t, err)
	for i := range sound {
		damaged := append([]byte(nil), sound...)
		damaged[i] ^= 1
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		_, err := store.Load(ctx)
		require.ErrorIs(t, err, customstatus.ErrDamaged, "byte %d", i)
		require.NoError(t, os.WriteFile(path, sound[:i], 0o600))
		_, err = store.Load(ctx)
		require.ErrorIs(t, err, customstatus.ErrDamaged, "cut at byte %d", i)
	}
	require.NoError(t, os.WriteFile(path, sound, 0o600))
	_, err = store.Load(ctx)
	require.NoError(t, err)
}
