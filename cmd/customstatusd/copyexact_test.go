package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// copyExact copies a status without metadata and one without a type to stores that
// have them, each of which empty returns.
func copyExact(t *testing.T, empty func(name string) string) {
	t.Helper()
	dir := t.TempDir()
	file := func(name, lines string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(lines), 0o600))
		return path
	}
	const line = `{"_id":%q,"name":%[1]q,"statusType":%q,"_updatedAt":"2023-11-04T11:51:28.353Z"%s}` + "\n"
	source := file("source", fmt.Sprintf(line, "a", "busy", "")+fmt.Sprintf(line, "b", "", ""))
	from := "bolt:" + filepath.Join(dir, "from.db")
	command(t, exitOK, "import", "--status-type-optional", "--store", from, source)
	for field, lines := range map[string]string{
		"metadata": fmt.Sprintf(line, "a", "busy", `,"metadata":"old"`),
		"type":     fmt.Sprintf(line, "b", "away", ""),
	} {
		before := file("dest", lines)
		for policy, want := range map[string]struct {
			code      int
			out, errs string
		}{
			conflictFails:   {exitFailure, "", "nothing was copied: 1 conflict with "},
			conflictSkips:   {exitOK, "copied 1 in 1 commit, skipped 1, already there 0\nverified: 1 of 2 ", ""},
			conflictUpdates: {exitOK, "copied 1 in 1 commit, updated 1, already there 0\n", ""},
		} {
			to := empty(field + "_" + policy)
			command(t, exitOK, "import", "--store", to, before)
			out, errs := command(t, want.code, "copy", "--on-conflict", policy, "--from", from, "--to", to)
			require.Contains(t, out, want.out, "%s %s", field, policy)
			require.Contains(t, errs, want.errs, "%s %s", field, policy)
			all, _ := command(t, exitOK, "export", "--store", to)
			switch policy {
			case conflictFails:
				require.Equal(t, lines, all)
			case conflictUpdates:
				require.NotContains(t, all, "old")
				require.NotContains(t, all, "away")
			}
			again, errs := command(t, want.code, "copy", "--on-conflict", policy, "--from", from, "--to", to)
			if policy == conflictUpdates {
				require.Contains(t, again, "updated 0, already there 2\n")
			}
			require.Contains(t, errs, want.errs)
		}
	}
	to := empty("whole")
	for range 2 {
		out, _ := command(t, exitOK, "copy", "--from", from, "--to", to)
		require.Contains(t, out, "verified: 2 statuses with the fingerprint ")
	}
}

// In a copy, an empty field is a value: it replaces another one, or conflicts with it.
func TestCopyExact(t *testing.T) {
	dir := t.TempDir()
	copyExact(t, func(name string) string { return "bolt:" + filepath.Join(dir, name+".db") })
}
