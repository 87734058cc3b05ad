//go:build !nocluster

package onetcd_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/customstatus/customstatus/etcdstore/etcdtest"
)

// hosts returns the members of a cluster as an address has them.
func hosts(t *testing.T, cluster *etcdtest.Cluster) string {
	t.Helper()
	var all []string
	for _, endpoint := range cluster.Endpoints() {
		u, err := url.Parse(endpoint)
		require.NoError(t, err)
		all = append(all, u.Host)
	}
	return strings.Join(all, ",")
}

func TestOnEtcd(t *testing.T) {
	path := build(t)
	for name, test := range map[string]func(*testing.T, program){
		"TwoServers": twoServers, "Copy": copyThereAndBack, "PasswordFile": passwordFile,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, program{path, t.TempDir()})
		})
	}
}

// A write at one server is in the list and in the stream of another one. While the
// cluster is away, lists are answered, writes fail, and the health check says so. All
// heals by itself.
func twoServers(t *testing.T, p program) {
	cluster := etcdtest.Start(t, nil)
	store := "etcd://" + hosts(t, cluster) + "/chat"
	tokens := filepath.Join(p.dir, "shared.tokens")
	header := p.login(t, tokens, store)
	a := p.serve(t, header, "--store", store, "--tokens", tokens)
	b := p.serve(t, header, "--store", store, "--tokens", tokens)

	stream := b.open(http.MethodGet, endpoints+"stream", "")
	defer stream.Body.Close()
	code, body := a.create("Lunch")
	require.Equal(t, http.StatusOK, code, body)
	lines := bufio.NewScanner(stream.Body)
	for lines.Scan() && !strings.Contains(lines.Text(), `"name":"Lunch"`) {
		require.NotContains(t, lines.Text(), "event: reset")
	}
	require.NoError(t, lines.Err())
	require.Contains(t, lines.Text(), `"name":"Lunch"`)
	b.says(endpoints+"list", http.StatusOK, `"total":1`)
	code, body = b.create("Lunch")
	require.Equal(t, http.StatusBadRequest, code, body)

	cluster.Kill(0)
	a.says("/healthz", http.StatusServiceUnavailable, `{"status":"reads are late","since":"`)
	code, body = a.create("Gym")
	require.Equal(t, http.StatusInternalServerError, code, body)
	a.says("/healthz", http.StatusServiceUnavailable, `{"status":"writes fail","since":"`)
	for _, n := range []*node{a, b} {
		n.says("/healthz/live", http.StatusOK, `{"status":"ok"}`)
		n.says(endpoints+"list", http.StatusOK, `"total":1`)
	}
	cluster.Restart(0)
	for i, n := range []*node{a, b} {
		n.says("/healthz", http.StatusOK, `{"status":"ok"}`) // without a write
		code, body = n.create(fmt.Sprint("after ", i))
		require.Equal(t, http.StatusOK, code, body)
	}
	a.says(endpoints+"list", http.StatusOK, `"after 1"`)
	b.says(endpoints+"list", http.StatusOK, `"after 0"`)
}

// A catalog moves into etcd in several commits, and back, unchanged to the byte.
func copyThereAndBack(t *testing.T, p program) {
	cluster := etcdtest.Start(t, nil)
	store := "etcd://" + hosts(t, cluster) + "/moved/here"
	var lines strings.Builder
	for i := range 500 {
		fmt.Fprintf(&lines, `{"_id":"id%d","name":"name %05d","statusType":"away","_updatedAt":"2023-11-04T11:51:28.%03dZ","metadataBase64":"/w=="}`+"\n", i, i, i)
	}
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "many.jsonl"), []byte(lines.String()), 0o600))
	p.run(t, "import", "--db", "a.db", "many.jsonl")

	for _, args := range [][]string{{"export", "--store", store}, {"check", "--store", store}, {"copy", "--from", store, "--to", "bolt:b.db"}} {
		out, err := p.command(args...).CombinedOutput()
		require.Error(t, err, args)
		require.Contains(t, string(out), "there is no catalog under this prefix, or nothing was ever written to it")
	}
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "none.jsonl"), nil, 0o600))
	p.run(t, "import", "--db", "none.db", "none.jsonl")
	require.Contains(t, p.run(t, "copy", "--from", "bolt:none.db", "--to", store), "verified: 0 statuses")

	out := p.run(t, "copy", "--from", "bolt:a.db", "--to", store)
	require.Contains(t, out, "copied 500 in 12 commits, already there 0\nverified: 500 statuses with the fingerprint ")
	require.Contains(t, p.run(t, "copy", "--from", "bolt:a.db", "--to", store), "copied 0 in 0 commits, already there 500\n")
	require.Contains(t, p.run(t, "copy", "--from", store, "--to", "bolt:b.db"), "verified: 500 statuses")
	first := p.run(t, "export", "--db", "a.db")
	require.Equal(t, lines.String(), first)
	require.Equal(t, first, p.run(t, "export", "--db", "b.db"))
	require.Equal(t, first, p.run(t, "export", "--store", store))
	require.Contains(t, p.run(t, "check", "--store", store), ": ok, statuses 500, revision ")
}

// A user with the least permissions, whose password is in a file, is enough. The
// password is in no output.
func passwordFile(t *testing.T, p program) {
	cluster := etcdtest.Start(t, nil)
	admin := cluster.Client(t)
	do := func(_ any, err error) {
		t.Helper()
		require.NoError(t, err)
	}
	ctx := t.Context()
	do(admin.RoleAdd(ctx, "root"))
	do(admin.UserAdd(ctx, "root", "root's secret"))
	do(admin.UserGrantRole(ctx, "root", "root"))
	do(admin.RoleAdd(ctx, "chat"))
	do(admin.RoleGrantPermission(ctx, "chat", "/chat/", clientv3.GetPrefixRangeEnd("/chat/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	do(admin.UserAdd(ctx, "chat", "chat's secret"))
	do(admin.UserGrantRole(ctx, "chat", "chat"))
	do(admin.AuthEnable(ctx))

	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "password"), []byte("chat's secret\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "wrong"), []byte("another secret\n"), 0o600))
	base := "etcd://chat@" + hosts(t, cluster) + "/chat"
	store, tokens := base+"?password-file=password", filepath.Join(p.dir, "x.tokens")
	n := p.serve(t, p.login(t, tokens, store), "--store", store, "--tokens", tokens)
	code, body := n.create("Lunch")
	require.Equal(t, http.StatusOK, code, body)
	require.Contains(t, p.run(t, "export", "--store", store), `"name":"Lunch"`)
	require.NotContains(t, n.log.String(), "secret")

	for _, refused := range []string{
		base + "?password-file=wrong",
		base,
		strings.Replace(store, "/chat?", "/other?", 1),
	} {
		out, err := p.command("export", "--store", refused).CombinedOutput()
		require.Error(t, err, refused)
		require.Contains(t, string(out), "customstatusd: export: etcd://chat@")
		require.NotContains(t, string(out), "secret")
	}
}
