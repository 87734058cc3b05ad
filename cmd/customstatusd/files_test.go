package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

// at is the place of a path without links.
func at(path string) place { return place{given: path, path: path} }

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	require.NoError(t, writeFile(path, false, text("one")))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	require.ErrorIs(t, writeFile(path, false, text("two")), fs.ErrExist)
	require.NoError(t, writeFile(path, true, text("three")))

	// A file that appears in the meantime is not replaced either.
	late := filepath.Join(dir, "late")
	require.ErrorIs(t, writeFile(late, false, func(io.Writer) error { return os.WriteFile(late, []byte("first"), 0o600) }), fs.ErrExist)
	kept, err := os.ReadFile(late)
	require.NoError(t, err)
	require.Equal(t, "first", string(kept))
	require.NoError(t, os.Remove(late))

	// A write that fails halfway changes nothing and leaves nothing.
	broken := errors.New("broken")
	half := func(w io.Writer) error {
		_, err := io.WriteString(w, "hal")
		return errors.Join(err, broken)
	}
	require.ErrorIs(t, writeFile(path, true, half), broken)
	require.ErrorIs(t, writeFile(filepath.Join(dir, "y"), false, half), broken)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "three", string(got))
	require.Equal(t, []string{"x"}, names(t, dir))

	require.ErrorContains(t, writeFile(dir, true, text("")), "is a directory")
	require.ErrorIs(t, writeFile(filepath.Join(dir, "none", "x"), true, text("")), fs.ErrNotExist)
	require.Error(t, writeFile(filepath.Join(path, "x"), true, text("")), "a file is no directory")
}

// A link stays a link: what it leads to is replaced.
func TestWriteFileThroughALink(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	target, link := filepath.Join(other, "target"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(target, []byte("old"), 0o644))
	require.NoError(t, os.Symlink(target, link))
	require.NoError(t, writeFile(link, true, text("new")))
	got, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, "new", string(got))
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&fs.ModeSymlink)
	require.Equal(t, []string{"link"}, names(t, dir))
}

// A device is written to and not replaced.
func TestWriteFileToADevice(t *testing.T) {
	before, err := os.Stat(os.DevNull)
	require.NoError(t, err)
	require.NoError(t, writeFile(os.DevNull, true, text("x")))
	broken := errors.New("broken")
	require.ErrorIs(t, writeFile(os.DevNull, false, func(io.Writer) error { return broken }), broken)
	after, err := os.Stat(os.DevNull)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after))
}
