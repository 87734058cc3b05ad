package pgstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/faultproxy"
	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/pgstore/pgtest"
	"github.com/customstatus/customstatus/storetest"
)

func TestPgBouncer(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	behind, err := faultproxy.New(server.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, behind.Close()) })
	bouncer := pgtest.Bouncer(t, behind.Addr())
	before, err := faultproxy.New(bouncer)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, before.Close()) })
	dsn := strings.Replace(server.DSN(database), server.Addr(), before.Addr(), 1)

	t.Run("the contract", func(t *testing.T) {
		storetest.RunShared(t, catalogs(dsn, pgstore.Options{NoListen: true}))
	})

	t.Run("LISTEN is of no use, and polls find everything", func(t *testing.T) {
		book := new(logbook)
		opts := pgstore.Options{Catalog: "deaf", Logger: book.logger()}
		a, b := open(t, dsn, opts), open(t, server.DSN(database), opts)
		feed := follow(t, a, 0)
		for i := range 3 {
			r := commit(t, b, create(string(rune('a'+i)), string(rune('a'+i))))
			feed.reaches(t, r)
		}
		works(t, a)
	})

	for _, tt := range []struct {
		name      string
		proxy     *faultproxy.Proxy
		direction faultproxy.Direction
		pattern   []byte
	}{
		{"the request is lost before PgBouncer", before, faultproxy.ToServer, request},
		{"the request is lost behind PgBouncer", behind, faultproxy.ToServer, request},
		{"the answer is lost before PgBouncer", before, faultproxy.ToClient, reply},
		{"the answer is lost behind PgBouncer", behind, faultproxy.ToClient, reply},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := pgstore.Options{Catalog: tt.name, NoListen: true, Timeout: 5 * time.Second, Logger: new(logbook).logger()}
			s := open(t, dsn, opts)
			feed := follow(t, s, 0)
			tt.proxy.Set(tt.direction, faultproxy.Rule{Action: faultproxy.Cut, Pattern: tt.pattern, Once: true})
			r := commit(t, s, create("a", "x"))
			require.Equal(t, 1, tt.proxy.Fired(tt.direction))
			tt.proxy.Set(tt.direction, faultproxy.Rule{})
			require.Equal(t, customstatus.Revision(1), r)
			feed.reaches(t, 1)
			holds(t, s, 1, "x")
			works(t, s)
		})
	}
}
