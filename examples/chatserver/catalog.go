package main

// This file is the whole of the embedding. The rest of the program is a chat
// server like any other.

import (
	"context"
	"net/http"
	"path/filepath"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

// openCatalog opens the catalog that is kept in a file in the directory.
func openCatalog(ctx context.Context, directory string) (*customstatus.Catalog, error) {
	return customstatus.OpenFile(ctx, filepath.Join(directory, "statuses.db"), nil)
}

// catalogEndpoints returns the endpoints custom-user-status.* over the catalog,
// to be mounted at [httpadapter.DefaultPrefix]. The adapter asks the server's own
// logins who is calling.
func catalogEndpoints(catalog *customstatus.Catalog, logins *accounts) *httpadapter.Handler {
	return httpadapter.New(catalog, logins, nil)
}

// Authenticate makes accounts an httpadapter.Authenticator. Admins may change
// the catalog; everybody who is logged in may list it.
func (a *accounts) Authenticate(r *http.Request) (httpadapter.Caller, error) {
	session, ok := a.session(r)
	if !ok {
		return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
	}
	return httpadapter.Caller{UserID: session.account.ID, MayManage: session.account.Admin}, nil
}

// follow keeps what people see of each other up to date: when an admin renames
// or deletes a status, everybody who has picked it shows it at once. It returns
// when ctx is done or the catalog is closed.
func (s *server) follow(ctx context.Context, after customstatus.Position) {
	for _, err := range s.catalog.Follow(ctx, after) {
		if err != nil {
			return
		}
		s.room.refresh()
	}
}

// statusEvents streams the catalog to one client: first all statuses, then each
// change. (The adapter has a stream of its own, custom-user-status.stream. A
// server that already has a way to push to its clients, as this one, sends the
// changes along that way, in the form that its clients like.) The id of an event
// is the position of the catalog that it leads to. A client that comes back with
// the last id it has seen gets what it has missed. It gets all statuses again if
// the catalog no longer knows that, or if the id is of another catalog.
func (s *server) statusEvents(w http.ResponseWriter, r *http.Request, session *session) {
	ctx, cancel := session.during(r.Context())
	defer cancel()
	stream := openStream(w)

	// What is no position is the zero one, after which Follow begins anew.
	after, _ := customstatus.ParsePosition(r.Header.Get("Last-Event-ID"))
	for update, err := range s.catalog.Follow(ctx, after) {
		if err != nil {
			return // the client, its session or the server has gone
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

// statusChange is how clients get a change: what became of the status, or what
// it was last if it is deleted.
type statusChange struct {
	Deleted bool                          `json:"deleted"`
	Status  customstatus.CustomUserStatus `json:"status"`
}
