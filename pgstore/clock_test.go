package pgstore

import (
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

// The clocks of two servers differ, so that a commit seems to be late. To read the
// clock again must not disturb other calls.
func TestClockOfAnotherServer(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	s, err := Open(t.Context(), server.DSN(database), &Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	commit := func(i int) error {
		s.setClock(time.Now(), time.Now().Add(-2*time.Hour).UnixMicro())
		_, err := s.Commit(t.Context(), []customstatus.Change{{Kind: customstatus.Created,
			After: customstatus.CustomUserStatus{ID: strconv.Itoa(i), Name: strconv.Itoa(i), UpdatedAt: time.Now()}}})
		return err
	}
	var others sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					_, _ = s.Revision(t.Context())
				}
			}
		})
	}
	for i := range 20 {
		require.NoError(t, commit(i))
	}
	close(done)
	others.Wait()

	server.Exec(database, "DELETE FROM customstatus.catalogs")
	require.ErrorIs(t, commit(20), errGone)
	require.Equal(t, []string{"0"}, server.Exec(database, "SELECT count(*) FROM customstatus.catalogs"), "a store makes no catalog but when it is opened")
}
