package etcdstore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore/etcdtest"
)

// certificate makes a certificate that is its own CA, for servers and clients on
// 127.0.0.1. It returns the paths of the certificate and the key.
func certificate(t *testing.T) (certFile, keyFile string, config *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "chat"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})
	require.NoError(t, os.WriteFile(certFile, certPEM, 0o600))
	require.NoError(t, os.WriteFile(keyFile, keyPEM, 0o600))
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
}

// secured starts a cluster with TLS, with a user "chat" whose role is the least that
// the documentation names. It returns a client of the administrator.
func secured(t *testing.T) (*etcdtest.Cluster, *tls.Config, *clientv3.Client) {
	t.Helper()
	certFile, keyFile, config := certificate(t)
	cluster := etcdtest.Start(t, &etcdtest.Options{CertFile: certFile, KeyFile: keyFile, ClientCAFile: certFile, AuthTokenTTL: time.Second})
	admin, err := clientv3.New(clientv3.Config{Endpoints: cluster.Endpoints(), TLS: config.Clone(), Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = admin.Close() })
	do := func(_ any, err error) {
		t.Helper()
		require.NoError(t, err)
	}
	do(admin.RoleAdd(ctx, "root"))
	do(admin.UserAdd(ctx, "root", "root's secret"))
	do(admin.UserGrantRole(ctx, "root", "root"))
	do(admin.RoleAdd(ctx, "chat"))
	do(admin.RoleGrantPermission(ctx, "chat", DefaultPrefix, clientv3.GetPrefixRangeEnd(DefaultPrefix), clientv3.PermissionType(clientv3.PermReadWrite)))
	do(admin.UserAdd(ctx, "chat", "chat's secret"))
	do(admin.UserGrantRole(ctx, "chat", "chat"))
	do(admin.AuthEnable(ctx))
	root, err := clientv3.New(clientv3.Config{
		Endpoints: cluster.Endpoints(), TLS: config.Clone(), Username: "root", Password: "root's secret", Logger: zap.NewNop(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	return cluster, config, root
}

func TestSecuredCluster(t *testing.T) {
	t.Parallel()
	cluster, config, root := secured(t)
	open := func(password string, tls *tls.Config, opts Options) (*Store, error) {
		if opts.Timeout == 0 {
			opts.Timeout = 2 * time.Second
		}
		s, err := Open(ctx, clientv3.Config{Endpoints: cluster.Endpoints(), TLS: tls, Username: "chat", Password: password}, silent(opts))
		if err == nil {
			t.Cleanup(func() { _ = s.Close() })
		}
		return s, err
	}

	_, err := open("a wrong secret", config.Clone(), Options{})
	require.ErrorContains(t, err, "authentication failed")
	require.NotContains(t, err.Error(), "a wrong secret")
	_, err = open("chat's secret", &tls.Config{}, Options{})
	require.Error(t, err, "the certificate is not trusted")
	require.NotContains(t, err.Error(), "chat's secret")
	_, err = open("chat's secret", config.Clone(), Options{Prefix: "/other/"})
	require.ErrorContains(t, err, "read and write access")

	s, err := open("chat's secret", config.Clone(), Options{})
	require.NoError(t, err)
	catalog, err := customstatus.OpenShared(ctx, s, &customstatus.Options{Logger: silent(Options{}).Logger})
	require.NoError(t, err)
	defer catalog.Close()
	n := &node{Catalog: catalog, store: s}
	_, err = n.create("a")
	require.NoError(t, err)
	same(t, n)
	require.NoError(t, catalog.Stats().FeedError)

	// A change of the permissions makes all tokens old, and so does time.
	_, err = root.RoleGrantPermission(ctx, "chat", "/more/", "/more0", clientv3.PermissionType(clientv3.PermRead))
	require.NoError(t, err)
	_, err = n.create("b")
	require.NoError(t, err)
	expired, err := root.Grant(ctx, 2)
	require.NoError(t, err)
	eventually(t, func() bool {
		left, err := root.TimeToLive(ctx, expired.ID)
		return err == nil && left.TTL <= 0
	}, "the token's time is over")
	_, err = n.create("c")
	require.NoError(t, err)
	same(t, n)

	// So does a restart of the members. The feed begins again with a new token.
	cluster.Kill(0)
	cluster.Restart(0)
	cluster.Leader()
	_, err = n.create("d")
	require.NoError(t, err)
	eventually(t, func() bool { return catalog.Stats().FeedError == nil }, "the feed is back")
	same(t, n)

	// Who loses the right to write can still read.
	_, err = root.RoleRevokePermission(ctx, "chat", DefaultPrefix, clientv3.GetPrefixRangeEnd(DefaultPrefix))
	require.NoError(t, err)
	_, err = root.RoleGrantPermission(ctx, "chat", DefaultPrefix, clientv3.GetPrefixRangeEnd(DefaultPrefix), clientv3.PermissionType(clientv3.PermRead))
	require.NoError(t, err)
	_, err = n.create("e")
	require.ErrorContains(t, err, "read and write access")
	require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown)
	same(t, n)
}

func TestOpenWithoutACluster(t *testing.T) {
	t.Parallel()
	_, err := Open(ctx, clientv3.Config{}, nil)
	require.ErrorContains(t, err, "etcdstore: connect")
	_, err = Open(ctx, clientv3.Config{}, &Options{Prefix: "no slash"})
	require.ErrorContains(t, err, "slash")
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err = Open(done, clientv3.Config{Endpoints: []string{"127.0.0.1:1"}}, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = Open(ctx, clientv3.Config{Endpoints: []string{"127.0.0.1:1"}}, silent(Options{Timeout: 300 * time.Millisecond}))
	require.ErrorContains(t, err, "check that a majority of the members is up")
	require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller has set no deadline")
	late := net.Error(nil)
	require.ErrorAs(t, err, &late)
	require.True(t, late.Timeout())
}

// A login that gets no answer ends with its context, and not with its own limit.
func TestOpenThatIsCancelled(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = silent.Accept() // it stays open
		cancel()
	}()
	_, err = Open(ctx, clientv3.Config{Endpoints: []string{silent.Addr().String()}, Username: "chat", Password: "s3cret", DialTimeout: time.Hour}, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.NotContains(t, err.Error(), "s3cret")
}

// A host's client stays open, and may have no endpoints any more.
func TestNewWithTheClientOfAHost(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	client := cluster.Client(t)
	s, err := New(client, nil)
	require.NoError(t, err)
	at, err := s.Commit(ctx, []customstatus.Change{create("a", "x")})
	require.NoError(t, err)
	client.SetEndpoints()
	_, err = s.Revision(ctx)
	require.ErrorContains(t, err, "no endpoints")
	_, err = s.Commit(ctx, []customstatus.Change{rename2("a", "x", "y", at)})
	require.ErrorContains(t, err, "no endpoints")
	client.SetEndpoints(cluster.Endpoints()...)
	_, err = s.Commit(ctx, []customstatus.Change{rename2("a", "x", "y", at)})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	_, err = client.Get(ctx, "key")
	require.NoError(t, err)
}

func rename2(id, from, to string, at customstatus.Revision) customstatus.Change {
	before, after := create(id, from).After, create(id, to).After
	before.Revision = at
	return customstatus.Change{Kind: customstatus.Updated, Before: before, After: after}
}
