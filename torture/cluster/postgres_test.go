package cluster

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/customstatus/customstatus/internal/faultproxy"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

// postgres is a PostgreSQL server, with a proxy for each node.
type postgres struct {
	t      *testing.T
	proxy  []*faultproxy.Proxy
	mu     sync.Mutex
	server *pgtest.Server // changes with a failover
}

func startPostgres(t *testing.T) engine {
	p := &postgres{t: t, server: pgtest.Start(t, nil)}
	for range nodes {
		p.proxy = append(p.proxy, newProxy(t, p.server.Addr()))
	}
	return p
}

func newProxy(t *testing.T, target string) *faultproxy.Proxy {
	t.Helper()
	p, err := faultproxy.New(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *postgres) place(_ *testing.T, name string) (tasks []task) {
	for _, proxy := range p.proxy {
		tasks = append(tasks, task{Place: name, DSN: "postgres://postgres@" + proxy.Addr() + "/postgres?sslmode=disable"})
	}
	return tasks
}

func (p *postgres) proxies(node int) []*faultproxy.Proxy { return p.proxy[node : node+1] }

func (p *postgres) primary() *pgtest.Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.server
}

// failOver makes the standby the primary, after the end of the primary.
func (p *postgres) failOver(standby *pgtest.Server) {
	standby.Promote()
	p.mu.Lock()
	p.server = standby
	p.mu.Unlock()
	for _, proxy := range p.proxy {
		proxy.SetTarget(standby.Addr())
		proxy.CutAll()
	}
}

func (p *postgres) faults() []fault {
	return []fault{
		{"server killed", func(r *rand.Rand, begin func() <-chan struct{}) {
			for traffic := begin(); during(traffic, 200*time.Millisecond); {
				p.server.Kill()
				during(traffic, time.Duration(r.IntN(300))*time.Millisecond)
				p.server.Restart()
			}
		}},
		{"server stopped", func(r *rand.Rand, begin func() <-chan struct{}) {
			for traffic := begin(); during(traffic, 200*time.Millisecond); {
				p.server.Stop()
				p.server.Restart()
			}
		}},
		{"server frozen", func(r *rand.Rand, begin func() <-chan struct{}) {
			for traffic := begin(); during(traffic, 100*time.Millisecond); {
				p.server.Freeze()
				during(traffic, time.Duration(200+r.IntN(1000))*time.Millisecond)
				p.server.Thaw()
			}
		}},
		{"failed over to a synchronous standby", func(r *rand.Rand, begin func() <-chan struct{}) {
			standby := p.server.Standby(true)
			traffic := begin()
			during(traffic, time.Duration(100+r.IntN(200))*time.Millisecond)
			// Commits wait for it in vain, and their outcome is looked up.
			standby.Freeze()
			during(traffic, requestTimeout+requestTimeout/4)
			p.server.Kill()
			standby.Thaw()
			p.failOver(standby)
		}},
	}
}

func (p *postgres) inspect(ctx context.Context, place string) (held, error) {
	h := held{ids: make(map[string]string), names: make(map[string]string)}
	c, err := pgconn.Connect(ctx, p.primary().DSN("postgres"))
	if err != nil {
		return h, err
	}
	defer c.Close(ctx)
	rows, err := c.Exec(ctx, fmt.Sprintf(`SELECT c.fingerprint, encode(s.id, 'hex'), encode(s.name, 'hex'), s.hash
		FROM customstatus.catalogs c LEFT JOIN customstatus.statuses s ON s.catalog = c.id
		WHERE c.name = convert_to('%s', 'UTF8')`, place)).ReadAll()
	if err != nil {
		return h, err
	}
	var want, got uint64
	for _, row := range rows[0].Rows {
		want = number(row[0])
		if row[1] == nil {
			continue
		}
		id, name := text(row[1]), text(row[2])
		h.ids[id], h.names[name] = name, id
		got += number(row[3])
	}
	if want != got {
		h.wrong = fmt.Errorf("the head has the fingerprint %x, the records have %x", want, got)
	}
	return h, nil
}

// number returns a bigint modulo 2^64.
func number(b []byte) uint64 {
	n, _ := strconv.ParseInt(string(b), 10, 64)
	return uint64(n)
}

// text returns what the hexadecimal digits stand for.
func text(b []byte) string {
	s, _ := hex.DecodeString(string(b))
	return string(s)
}
