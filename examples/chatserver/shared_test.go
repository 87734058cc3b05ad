package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/customstatus/customstatus/etcdstore/etcdtest"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

// postgres starts a server of PostgreSQL and returns the address of an empty database.
func postgres(t *testing.T) string {
	server := pgtest.Start(t, nil)
	return server.DSN(server.NewDatabase())
}

// etcd starts a cluster of one member and returns its address.
func etcd(t *testing.T) string {
	var hosts []string
	for _, endpoint := range etcdtest.Start(t, nil).Endpoints() {
		u, err := url.Parse(endpoint)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, u.Host)
	}
	return "etcd://" + strings.Join(hosts, ",")
}

// TestTwoServers runs the program twice on one store. Whoever follows one of them sees
// what is changed on the other one, and nothing is missing when one has been killed.
func TestTwoServers(t *testing.T) {
	binary := build(t)
	for name, start := range map[string]func(*testing.T) string{"PostgreSQL": postgres, "etcd": etcd} {
		t.Run(name, func(t *testing.T) {
			store := start(t)
			twoServers(t, func() *exec.Cmd { return command(t, binary, "-store", store) }, func() *exec.Cmd {
				cmd := command(t, binary)
				cmd.Env = append(os.Environ(), storeVariable+"="+store)
				return cmd
			})
		})
	}
}

// twoServers takes two ways to name the same store, which is empty.
func twoServers(t *testing.T, byFlag, byVariable func() *exec.Cmd) {
	servers := launch(t, byFlag(), byVariable())
	one, other := servers[0], servers[1]
	admin, alice := one.login(t, "admin"), other.login(t, "alice")
	catalog, room := alice.listen("chat.statusEvents", ""), alice.listen("chat.roomEvents", "")
	if got := catalog.names(); !slices.Equal(got, seeds) {
		t.Errorf("the catalog at first: %q", got)
	}
	room.next("room", &welcome{})
	sees := func(want string) {
		t.Helper()
		c := catalog.nextChange()
		if got := fmt.Sprint(c.Status.Name, " ", c.Status.StatusType, " ", c.Deleted); got != want {
			t.Errorf("got the change %q, want %q", got, want)
		}
	}
	shows := func(want string) {
		t.Helper()
		var p person
		room.next("person", &p)
		got := "nothing"
		if p.Status != nil {
			got = p.Status.Name
		}
		if p.Name != "alice" || got != want {
			t.Errorf("%s shows %s, want alice with %s", p.Name, got, want)
		}
	}

	id := admin.create("In the lab", "busy")
	sees("In the lab busy false")
	alice.mustPost("users.setStatus", map[string]string{"statusId": id})
	shows("In the lab")
	admin.mustPost("custom-user-status.update", map[string]string{"_id": id, "name": "In the garden", "statusType": "away"})
	sees("In the garden away false")
	shows("In the garden")
	admin.mustPost("custom-user-status.delete", map[string]string{"customUserStatusId": id})
	sees("In the garden away true")
	shows("nothing")

	admin.create("Last words", "busy")
	if err := one.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = one.cmd.Wait() // the error is the kill
	sees("Last words busy false")
	other.login(t, "admin").create("Still here", "online")
	sees("Still here online false")

	// A third server knows what both have written, and a client that comes from a
	// killed server goes on where it was.
	third := launch(t, byFlag())[0]
	resumed := third.login(t, "bob").listen("chat.statusEvents", catalog.last)
	third.login(t, "admin").create("Back again", "online")
	sees("Back again online false")
	if c := resumed.nextChange(); c.Status.Name != "Back again" {
		t.Errorf("after resuming, got the change %v", c)
	}
	third.end(t)
	other.end(t)
}

// No user of the machine may read a password in the list of processes.
func TestPasswordOnTheCommandLine(t *testing.T) {
	for address, want := range map[string]bool{
		"":                                     false,
		"bolt:a:b@c":                           false,
		"postgres://chat@db.example:5432/chat": false,
		"postgres://db.example:5432/chat?application_name=a@b": false,
		"etcd://a:2379,b:2379":                                 false,
		"postgres://chat:secret@db.example/chat":               true,
		"postgres://chat:se@cret@db.example/chat":              true,
		"postgres://db.example/chat?user=chat&password=secret": true,
	} {
		if got := hasPassword(address); got != want {
			t.Errorf("%q has a password: %v, want %v", address, got, want)
		}
	}
	cmd := command(t, build(t), "-store", "postgres://chat:secret@db.example/chat")
	cmd.Stderr = nil
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 2 || strings.Contains(string(out), "secret") || !strings.Contains(string(out), "PGPASSWORD") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestStoreAddress(t *testing.T) {
	for _, address := range []string{"", "bolt", "bolt:", "chat.db", "mysql://db.example/chat", "etcd:", "etcd://", "etcd://user@a:2379", "etcd://a:2379/prefix"} {
		if catalog, err := openCatalog(t.Context(), address); err != errBadStore {
			t.Errorf("%q: %v, %v", address, catalog, err)
		}
	}
	file := filepath.Join(t.TempDir(), "own.db")
	catalog, err := openCatalog(context.WithoutCancel(t.Context()), "bolt:"+file)
	if err != nil {
		t.Fatal(err)
	}
	if err := catalog.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
