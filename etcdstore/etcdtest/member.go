package etcdtest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// environment is the variable that makes a test binary a member, with its settings.
const environment = "CUSTOMSTATUS_ETCDTEST_MEMBER"

// settings are what a member's process needs.
type settings struct {
	Options
	Name, Token, Dir, Initial string
	ClientPort, PeerPort      int
	Started                   bool // the addresses have been used
}

// Main runs the tests of a package and ends the process. In a process that [Start] has
// started, it runs the member instead.
func Main(m *testing.M) {
	if text := os.Getenv(environment); text != "" {
		err := serve(text)
		fmt.Fprintln(os.Stderr, "etcdtest:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// serve runs a member until standard input ends.
func serve(text string) error {
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	config, err := s.config()
	if err != nil {
		return err
	}
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); os.Exit(1) }()
	return <-etcd.Err()
}

func (s *settings) config() (*embed.Config, error) {
	c := embed.NewConfig()
	c.Name, c.Dir = s.Name, filepath.Join(s.Dir, "data")
	c.LogLevel = "error"
	c.UnsafeNoFsync = !s.Fsync
	c.InitialCluster, c.InitialClusterToken = s.Initial, s.Token
	if s.MaxTxnOps > 0 {
		c.MaxTxnOps = s.MaxTxnOps
	}
	if s.AuthTokenTTL > 0 {
		c.AuthTokenTTL = uint(s.AuthTokenTTL / time.Second)
	}
	c.QuotaBackendBytes = s.QuotaBytes
	c.BcryptCost = 4 // the least, for tests
	client, err := url.Parse(s.clientURL())
	if err != nil {
		return nil, err
	}
	peer, err := url.Parse(s.peerURL())
	if err != nil {
		return nil, err
	}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	c.ClientTLSInfo.CertFile, c.ClientTLSInfo.KeyFile, c.ClientTLSInfo.TrustedCAFile = s.CertFile, s.KeyFile, s.ClientCAFile
	c.ClientTLSInfo.ClientCertAuth = s.ClientCAFile != ""
	return c, nil
}

func (s *settings) clientURL() string {
	if s.CertFile != "" {
		return fmt.Sprintf("https://127.0.0.1:%d", s.ClientPort)
	}
	return fmt.Sprintf("http://127.0.0.1:%d", s.ClientPort)
}

func (s *settings) peerURL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.PeerPort) }

func (s *settings) log() string { return filepath.Join(s.Dir, "log") }

// command returns the command that runs the member.
func (s *settings) command() (*exec.Cmd, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), environment+"="+string(text))
	cmd.SysProcAttr = attributes()
	return cmd, nil
}

// status asks the member for its id and for that of the leader it knows.
func (s *settings) status() (member, leader uint64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	transport := insecure.NewCredentials()
	if s.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
		if err != nil {
			return 0, 0, err
		}
		transport = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}})
	}
	conn, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", s.ClientPort), grpc.WithTransportCredentials(transport))
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	status, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return 0, 0, err
	}
	if status.Leader == 0 {
		return 0, 0, errors.New("no leader")
	}
	return status.Header.MemberId, status.Leader, nil
}

// restore makes the member's data from a snapshot, whose revision grows by bump.
func (s *settings) restore(path string, bump uint64) error {
	return snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: path, Name: s.Name, OutputDataDir: filepath.Join(s.Dir, "data"),
		PeerURLs: []string{s.peerURL()}, InitialCluster: s.Initial, InitialClusterToken: s.Token,
		RevisionBump: bump, MarkCompacted: bump > 0,
	})
}
