package cluster

import (
	"context"
	"iter"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

type postgres struct{ dsn string }

func startPostgres(b *testing.B) server {
	s := pgtest.Start(b, nil)
	return &postgres{s.DSN(s.NewDatabase())}
}

func (p *postgres) open(b *testing.B) customstatus.SharedStore {
	s, err := pgstore.Open(b.Context(), p.dsn, nil)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// barePostgres is a store of one table of statuses and one of changes.
type barePostgres struct{ pool *pgxpool.Pool }

func (p *postgres) bare(b *testing.B) bare {
	config, err := pgxpool.ParseConfig(p.dsn)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	_, err = pool.Exec(b.Context(), `
		CREATE TABLE IF NOT EXISTS statuses (id text PRIMARY KEY, name text NOT NULL UNIQUE, type text NOT NULL, updated_at timestamptz NOT NULL);
		CREATE TABLE IF NOT EXISTS changes (revision bigserial PRIMARY KEY, id text NOT NULL)`)
	if err != nil {
		b.Fatal(err)
	}
	return &barePostgres{pool}
}

func (p *barePostgres) create(ctx context.Context, s customstatus.CustomUserStatus) error {
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO statuses VALUES ($1, $2, $3, $4)", s.ID, s.Name, string(s.StatusType), s.UpdatedAt); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "WITH woken AS (SELECT pg_notify('changes', '')) INSERT INTO changes (id) SELECT $1 FROM woken", s.ID)
		return err
	})
}

func (p *barePostgres) wakes(ctx context.Context) iter.Seq2[struct{}, error] {
	return func(yield func(struct{}, error) bool) {
		conn, err := p.pool.Acquire(ctx)
		if err != nil {
			yield(struct{}{}, err)
			return
		}
		defer conn.Release()
		_, err = conn.Exec(ctx, "LISTEN changes")
		for yield(struct{}{}, err) && err == nil {
			_, err = conn.Conn().WaitForNotification(ctx)
		}
	}
}

func (p *barePostgres) load(ctx context.Context) (int, error) {
	rows, err := p.pool.Query(ctx, "SELECT id, name, type, metadata, updated_at, revision FROM customstatus.statuses")
	if err != nil {
		return 0, err
	}
	type row struct {
		ID, Name, Type, Metadata []byte
		UpdatedAt, Revision      int64
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	return len(all), err
}
