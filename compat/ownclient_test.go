package compat_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	statusclient "github.com/customstatus/customstatus/client"
)

// follower is the package's own client, which follows a catalog.
type follower struct {
	t      *testing.T
	client *statusclient.Client
	next   func() (customstatus.Update, error, bool)
}

// follow requires that the client gets the whole catalog first.
func follow(t *testing.T, url string) *follower {
	t.Helper()
	c, err := statusclient.New(url, &statusclient.Options{
		Credentials:  statusclient.Credentials{UserID: "u", Token: "secret"},
		Retries:      -1,
		PollInterval: -1, // it has to get the stream
		OnRetry:      func(err error, _ time.Duration) { t.Errorf("the client tries again: %v", err) },
	})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	next, stop := iter.Pull2(c.Follow(ctx, customstatus.Position{}))
	t.Cleanup(func() { cancel(); stop() })
	f := &follower{t, c, next}
	first := f.update()
	require.True(t, first.Reset)
	require.Len(t, first.Statuses, statuses)
	return f
}

func (f *follower) update() customstatus.Update {
	f.t.Helper()
	update, err, ok := f.next()
	require.True(f.t, ok)
	require.NoError(f.t, err)
	return update
}

// works requires that a write of the client comes back as a change.
func (f *follower) works(name string) {
	f.t.Helper()
	created, err := f.client.Create(f.t.Context(), customstatus.Fields{Name: name, StatusType: customstatus.Away})
	require.NoError(f.t, err)
	update := f.update()
	require.False(f.t, update.Reset)
	require.Equal(f.t, []customstatus.Change{{Kind: customstatus.Created, After: created}}, update.Changes)
	require.NoError(f.t, f.client.Delete(f.t.Context(), created.ID))
	update = f.update()
	require.Len(f.t, update.Changes, 1)
	require.Equal(f.t, created, update.Changes[0].Before)
}
