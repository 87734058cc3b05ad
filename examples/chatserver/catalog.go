package main

// This file is the whole embedding. The rest of the program is a chat server like any
// other.

import (
	"context"
	"errors"
	"net/http"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/pgstore"
)

var errBadStore = errors.New("a store is bolt:PATH, postgres://USER@HOST:PORT/DATABASE or etcd://HOST:PORT,HOST:PORT")

// openCatalog opens the catalog in the store at an address. A server of your own needs
// only one of these cases. The rest of the program is the same on every store.
func openCatalog(ctx context.Context, address string) (*customstatus.Catalog, error) {
	kind, rest, _ := strings.Cut(address, ":")
	switch kind {
	case "bolt": // one server
		if rest == "" {
			return nil, errBadStore
		}
		return customstatus.OpenFile(ctx, rest, nil)
	case "postgres", "postgresql": // any number of servers
		store, err := pgstore.Open(ctx, address, nil)
		if err != nil {
			return nil, err
		}
		return openShared(ctx, store)
	case "etcd": // any number of servers
		hosts := strings.TrimPrefix(rest, "//")
		if hosts == "" || strings.ContainsAny(hosts, "/@?#") {
			return nil, errBadStore
		}
		// Set TLS, Username and Password here if your cluster needs them.
		store, err := etcdstore.Open(ctx, clientv3.Config{Endpoints: strings.Split(hosts, ",")}, nil)
		if err != nil {
			return nil, err
		}
		return openShared(ctx, store)
	}
	return nil, errBadStore
}

// openShared opens a catalog that other servers may change, too. The catalog closes the
// store.
func openShared(ctx context.Context, store customstatus.SharedStore) (*customstatus.Catalog, error) {
	catalog, err := customstatus.OpenShared(ctx, store, nil)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return catalog, nil
}

// catalogEndpoints returns the endpoints custom-user-status.* of the catalog. The
// caller mounts them at [httpadapter.DefaultPrefix]. The adapter asks the server's own
// logins who makes a request.
func catalogEndpoints(catalog *customstatus.Catalog, logins *accounts) *httpadapter.Handler {
	return httpadapter.New(catalog, logins, nil)
}

// Authenticate makes accounts an httpadapter.Authenticator. Admins may change
// the catalog; everybody who is logged in may list it.
//
// An Authenticator sees the whole request, so a login can be anything that the host likes.
// Here it is two headers or a cookie. With a cookie, pages of other origins could make a
// browser write: the adapter refuses their requests by itself.
func (a *accounts) Authenticate(r *http.Request) (httpadapter.Caller, error) {
	session, ok := a.session(r)
	if !ok {
		return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
	}
	return httpadapter.Caller{UserID: session.account.ID, MayManage: session.account.Admin}, nil
}

// follow keeps the statuses of the people in the room up to date: when an admin renames
// or deletes a status, all people who have picked the status show the change at once. It
// does not matter on which server the admin is. follow returns when ctx is done or the
// catalog is closed.
func (s *server) follow(ctx context.Context, after customstatus.Position) {
	for _, err := range s.catalog.Follow(ctx, after) {
		if err != nil {
			return
		}
		s.room.refresh()
	}
}

// statusEvents streams the catalog to one client: first all statuses, then each
// change. (The adapter has a stream of its own, custom-user-status.stream. This server
// has its own way to push events, so it sends the changes that way, in the form that
// its clients like.)
//
// The id of an event is the catalog's position after the change. A client that comes
// back with its last id gets the changes since then. The client gets all statuses again
// if the catalog no longer has those changes, or if the id is from another catalog.
func (s *server) statusEvents(w http.ResponseWriter, r *http.Request, session *session) {
	ctx, cancel := session.during(r.Context())
	defer cancel()
	stream := openStream(w)

	// Text that is no position gives the zero position, at which Follow starts over.
	after, _ := customstatus.ParsePosition(r.Header.Get("Last-Event-ID"))
	for update, err := range s.catalog.Follow(ctx, after) {
		if err != nil {
			return // the client has gone, or the session or the server has ended
		}
		if update.Reset {
			err = stream.send(update.Position.String(), "statuses", update.Statuses)
		} else {
			err = stream.send(update.Position.String(), "changes", statusChanges(update.Changes))
		}
		if err != nil {
			return
		}
	}
}

func statusChanges(changes []customstatus.Change) []statusChange {
	out := make([]statusChange, len(changes))
	for i, c := range changes {
		out[i] = statusChange{Deleted: c.Kind == customstatus.Deleted, Status: c.Status()}
	}
	return out
}

// statusChange is a change in the form for clients. It has the status after the change,
// or the last one if the status was deleted.
type statusChange struct {
	Deleted bool                          `json:"deleted"`
	Status  customstatus.CustomUserStatus `json:"status"`
}
