package main

// This file is the whole of the embedding. The rest of the program is a chat
// server like any other.

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strconv"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

// openCatalog opens the catalog that is kept in a file in the directory. The
// catalog owns its store from then on and closes it.
func openCatalog(ctx context.Context, directory string) (*customstatus.Catalog, error) {
	store, err := customstatus.OpenBolt(filepath.Join(directory, "statuses.db"), nil)
	if err != nil {
		return nil, err
	}
	catalog, err := customstatus.Open(ctx, store, nil)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return catalog, nil
}

// catalogEndpoints returns the endpoints custom-user-status.* over the catalog,
// to be mounted at /api/v1/. The adapter asks the server's own logins who is
// calling.
func catalogEndpoints(catalog *customstatus.Catalog, logins *accounts) *httpadapter.Handler {
	return httpadapter.New(catalog, &httpadapter.Options{Authenticator: logins})
}

// Authenticate makes accounts an httpadapter.Authenticator. Admins may change
// the catalog; everybody who is logged in may list it.
func (a *accounts) Authenticate(_ context.Context, userID, authToken string) (httpadapter.Caller, error) {
	session, ok := a.session(userID, authToken)
	if !ok {
		return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
	}
	return httpadapter.Caller{UserID: userID, MayManage: session.account.Admin}, nil
}

// follow keeps what people see of each other up to date: when an admin renames
// or deletes a status, everybody who has picked it shows it at once. It returns
// when ctx is done.
func (s *server) follow(ctx context.Context, after customstatus.Revision) {
	for {
		for commit, err := range s.catalog.Watch(ctx, after) {
			if errors.Is(err, customstatus.ErrCompacted) {
				break // we are further behind than the catalog remembers
			}
			if err != nil {
				return
			}
			s.room.refresh()
			after = commit.Revision
		}
		after = s.catalog.Revision()
		s.room.refresh()
	}
}

// statusEvents streams the catalog to one client: first all statuses, then each
// change. (The adapter has a stream of its own, custom-user-status.stream. A
// server that already has a way to push to its clients, as this one, sends the
// changes along that way, in the form that its clients like.) The id of an event
// is the revision of the catalog that it leads to; a client that comes back with
// the last id it has seen gets what it has missed.
func (s *server) statusEvents(w http.ResponseWriter, r *http.Request, session *session) {
	ctx, cancel := session.during(r.Context())
	defer cancel()
	stream := openStream(w)

	seen, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64)
	after, resume := customstatus.Revision(seen), err == nil
	for {
		if !resume {
			// List, then watch from the revision of the list: nothing
			// is missed and nothing comes twice.
			page, err := s.catalog.List(customstatus.Query{})
			if err != nil {
				return
			}
			after = page.Revision
			if stream.send(uint64(after), "statuses", page.Statuses) != nil {
				return
			}
		}
		for commit, err := range s.catalog.Watch(ctx, after) {
			if errors.Is(err, customstatus.ErrCompacted) {
				break // the client has been away for too long: list again
			}
			if err != nil {
				return // the client, its session or the server has gone
			}
			changes := make([]statusChange, len(commit.Changes))
			for i, c := range commit.Changes {
				changes[i] = statusChange{Deleted: c.Deleted, Status: c.Status}
			}
			if stream.send(uint64(commit.Revision), "changes", changes) != nil {
				return
			}
		}
		resume = false
	}
}

// statusChange is how clients get a change: what became of the status, or what
// it was last if it is deleted.
type statusChange struct {
	Deleted bool                          `json:"deleted"`
	Status  customstatus.CustomUserStatus `json:"status"`
}
