package pgstore_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

// byHand is what a host would write without this package: two statements in a
// transaction.
type byHand struct{ pool *pgxpool.Pool }

func newByHand(b *testing.B, dsn string) byHand {
	b.Helper()
	pool, err := pgxpool.New(b.Context(), dsn)
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	_, err = pool.Exec(b.Context(), `CREATE TABLE statuses (id text PRIMARY KEY, name text NOT NULL UNIQUE, type text NOT NULL, updated_at bigint NOT NULL);
		CREATE TABLE changes (n bigserial PRIMARY KEY, id text NOT NULL, name text NOT NULL)`)
	require.NoError(b, err)
	return byHand{pool}
}

func (h byHand) create(ctx context.Context, id, name string) error {
	tx, err := h.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	if _, err := tx.Exec(ctx, "INSERT INTO statuses VALUES ($1, $2, $3, $4)", id, name, "busy", time.Now().UnixMilli()); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO changes (id, name) VALUES ($1, $2)", id, name); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func BenchmarkCreate(b *testing.B) {
	server := pgtest.Start(b, nil)
	hand := newByHand(b, server.DSN(server.NewDatabase()))
	store, err := pgstore.Open(b.Context(), server.DSN(server.NewDatabase()), nil)
	require.NoError(b, err)
	bare, err := pgstore.Open(b.Context(), server.DSN(server.NewDatabase()), nil)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, bare.Close()) })
	catalog, err := customstatus.OpenShared(b.Context(), store, nil)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, catalog.Close()) })
	var last atomic.Int64
	for _, way := range []struct {
		name   string
		create func(name string) error
	}{
		{"by hand", func(name string) error { return hand.create(b.Context(), name, name) }},
		{"store", func(name string) error {
			_, err := bare.Commit(b.Context(), []customstatus.Change{create(name, name)})
			return err
		}},
		{"catalog", func(name string) error {
			_, err := catalog.Create(b.Context(), customstatus.Fields{Name: name, StatusType: customstatus.Busy})
			return err
		}},
	} {
		b.Run(way.name+"/alone", func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, way.create(fmt.Sprint(last.Add(1))))
			}
		})
		b.Run(way.name+"/64 writers", func(b *testing.B) {
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := way.create(fmt.Sprint(last.Add(1))); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkLoad100000(b *testing.B) {
	server := pgtest.Start(b, nil)
	dsn := server.DSN(server.NewDatabase())
	store, err := pgstore.Open(b.Context(), dsn, nil)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, store.Close()) })
	for part := range 10 {
		changes := make([]customstatus.Change, 10_000)
		for i := range changes {
			name := fmt.Sprintf("status %d of part %d", i, part)
			changes[i] = create(name, name)
		}
		_, err := store.Commit(b.Context(), changes)
		require.NoError(b, err)
	}
	pool, err := pgxpool.New(b.Context(), dsn)
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	b.Run("bare pgx", func(b *testing.B) {
		for b.Loop() {
			rows, err := pool.Query(b.Context(), "SELECT id, name, type, metadata, updated_at, revision FROM customstatus.statuses WHERE catalog = 1")
			require.NoError(b, err)
			var all []customstatus.CustomUserStatus
			for rows.Next() {
				var s customstatus.CustomUserStatus
				var id, name, typ, metadata []byte
				var at, revision int64
				if err := rows.Scan(&id, &name, &typ, &metadata, &at, &revision); err != nil {
					b.Fatal(err)
				}
				s.ID, s.Name, s.StatusType, s.Metadata = string(id), string(name), customstatus.StatusType(typ), string(metadata)
				s.UpdatedAt, s.Revision = time.UnixMilli(at).UTC(), customstatus.Revision(revision)
				all = append(all, s)
			}
			require.NoError(b, rows.Err())
			require.Len(b, all, 100_000)
		}
	})
	b.Run("store", func(b *testing.B) {
		for b.Loop() {
			all, err := store.Load(b.Context())
			require.NoError(b, err)
			require.Len(b, all.Statuses, 100_000)
		}
	})
}
