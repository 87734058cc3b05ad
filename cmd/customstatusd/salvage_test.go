package main

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// A status that no catalog accepts is left out and named, and the rest is saved.
func TestSalvageWhatTheRulesRefuse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	store, err := customstatus.OpenBolt(path, nil)
	require.NoError(t, err)
	var changes []customstatus.Change
	for id, name := range map[string]string{"1": "<one>", "2": "two", "3": "three&", "4": "four"} {
		changes = append(changes, customstatus.Change{Kind: customstatus.Created, After: customstatus.CustomUserStatus{ID: id, Name: name, StatusType: customstatus.Busy, UpdatedAt: time.UnixMilli(1)}})
	}
	_, err = store.Commit(t.Context(), changes)
	require.NoError(t, err)
	require.NoError(t, store.Close())

	var out, errs bytes.Buffer
	noEnv := func(string) (string, bool) { return "", false }
	target := filepath.Join(dir, "new.db")
	code := run(t.Context(), []string{"salvage", "--db", path, target}, nil, &out, &errs, noEnv)
	require.Equal(t, exitFailure, code)
	require.Contains(t, out.String(), "new.db: saved 2\n")
	require.Contains(t, errs.String(), `status "1", named "<one>": left out: name "<one>" is not valid: it has one of > < & " '`)
	require.Contains(t, errs.String(), `status "3", named "three&": left out: `)
	require.Equal(t, map[string]bool{"two": true, "four": true}, stored(t, target))
	require.Equal(t, []string{"new.db", "x.db"}, names(t, dir))
}
