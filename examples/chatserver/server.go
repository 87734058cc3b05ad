package main

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

const (
	maxBody    = 16 << 10 // bytes
	maxMessage = 2000     // characters

	// dropTimeout is how long the server waits for the body of a request that it
	// has refused.
	dropTimeout = time.Second
)

//go:embed web
var web embed.FS

// server is the chat server.
type server struct {
	catalog   *customstatus.Catalog
	endpoints *httpadapter.Handler
	accounts  *accounts
	room      *room
	life      context.Context // ends with the server
	running   sync.WaitGroup
}

// newServer opens the accounts and the catalog in the directory. Logins, streams and
// goroutines end with ctx. The caller must call close after that.
func newServer(ctx context.Context, directory string, rounds int) (*server, error) {
	logins, err := openAccounts(ctx, directory, rounds)
	if err != nil {
		return nil, err
	}
	catalog, err := openCatalog(ctx, directory)
	if err != nil {
		return nil, err
	}
	s := &server{
		catalog:   catalog,
		endpoints: catalogEndpoints(catalog, logins),
		accounts:  logins,
		room:      newRoom(catalog),
		life:      ctx,
	}
	for _, acc := range logins.all() {
		s.room.enter(acc)
	}
	after := catalog.Position()
	s.running.Go(func() { s.follow(ctx, after) })
	return s, nil
}

// close closes the catalog, whose file others may then open.
func (s *server) close() error {
	err := s.catalog.Close() // ends follow, if ctx has not
	s.running.Wait()
	return err
}

// firstStart fills a new server: it adds three people, prints their passwords, and
// creates a few statuses.
func (s *server) firstStart(ctx context.Context, out io.Writer, file string) error {
	if len(s.accounts.all()) > 0 {
		return nil
	}
	if s.catalog.Revision() == 0 {
		_, err := s.catalog.Import(ctx, []customstatus.CustomUserStatus{
			{Name: "In a meeting", StatusType: customstatus.Busy},
			{Name: "At lunch", StatusType: customstatus.Away},
			{Name: "Working from home", StatusType: customstatus.Online},
			{Name: "On vacation", StatusType: customstatus.Offline},
		})
		if err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "chatserver: these people can log in; their passwords are shown this once:")
	for _, name := range []string{"admin", "alice", "bob"} {
		password := rand.Text()
		acc, err := s.accounts.add(ctx, name, password, name == "admin")
		if err != nil {
			return err
		}
		s.room.enter(acc)
		fmt.Fprintf(out, "  %-6s %s\n", name, password)
	}
	fmt.Fprintf(out, "chatserver: to begin anew, stop the server and remove %s\n", file)
	return nil
}

// handler returns everything that the server serves.
func (s *server) handler() http.Handler {
	pages, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // the directory is embedded
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(pages))

	// The catalog's endpoints, and a 404 in JSON for every other path.
	mux.Handle(httpadapter.DefaultPrefix, s.endpoints)

	mux.HandleFunc("POST /api/v1/login", s.login)
	mux.HandleFunc("POST /api/v1/logout", s.loggedIn(s.logout))
	mux.HandleFunc("POST /api/v1/users.create", s.loggedIn(s.createUser))
	mux.HandleFunc("POST /api/v1/users.setStatus", s.loggedIn(s.setStatus))
	mux.HandleFunc("POST /api/v1/chat.postMessage", s.loggedIn(s.postMessage))
	mux.HandleFunc("GET /api/v1/chat.roomEvents", s.loggedIn(s.roomEvents))
	mux.HandleFunc("GET /api/v1/chat.statusEvents", s.loggedIn(s.statusEvents))

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// loggedIn passes on the requests that belong to a session, and refuses all others.
func (s *server) loggedIn(next func(http.ResponseWriter, *http.Request, *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		session, ok := s.accounts.session(r)
		if !ok {
			fail(w, http.StatusUnauthorized, "unauthorized")
			return
		}
		next(w, r, session)
	}
}

// login has the request and the answer of Rocket.Chat's login.
func (s *server) login(w http.ResponseWriter, r *http.Request) {
	var in struct{ User, Password string }
	if !s.read(w, r, &in) {
		return
	}
	session, token, err := s.accounts.login(r.Context(), in.User, in.Password)
	switch {
	case errors.Is(err, errWrongPassword):
		answer(w, http.StatusUnauthorized, map[string]any{"status": "error", "error": "Unauthorized", "message": "Unauthorized"})
	case err != nil:
		fail(w, http.StatusServiceUnavailable, "try again later") // the client has gone
	default:
		roles := []string{"user"}
		if session.account.Admin {
			roles = append(roles, "admin")
		}
		answer(w, http.StatusOK, map[string]any{
			"status": "success",
			"data": map[string]any{
				"userId":    session.account.ID,
				"authToken": token,
				"me":        map[string]any{"_id": session.account.ID, "username": session.account.Name, "roles": roles},
			},
		})
	}
}

func (s *server) logout(w http.ResponseWriter, r *http.Request, session *session) {
	session.close()
	s.endpoints.RecheckLogins() // ends the adapter's streams of this session, too
	answer(w, http.StatusOK, map[string]any{"status": "success", "data": map[string]any{"message": "You've been logged out!"}})
}

func (s *server) createUser(w http.ResponseWriter, r *http.Request, session *session) {
	if !session.account.Admin {
		fail(w, http.StatusForbidden, "only an admin may add people")
		return
	}
	var in struct{ Username, Password string }
	if !s.read(w, r, &in) {
		return
	}
	acc, err := s.accounts.add(r.Context(), in.Username, in.Password, false)
	switch {
	case errors.Is(err, errBadAccount), errors.Is(err, errNameTaken):
		fail(w, http.StatusBadRequest, err.Error())
	case err != nil:
		fail(w, http.StatusInternalServerError, "the account could not be kept")
	default:
		s.room.enter(acc)
		answer(w, http.StatusOK, map[string]any{"success": true, "user": map[string]any{"_id": acc.ID, "username": acc.Name}})
	}
}

// setStatus picks a status of the catalog by its id, or no status by an empty id.
func (s *server) setStatus(w http.ResponseWriter, r *http.Request, session *session) {
	var in struct{ StatusID string }
	if !s.read(w, r, &in) {
		return
	}
	err := s.room.pick(session.account.ID, in.StatusID)
	switch {
	case errors.Is(err, customstatus.ErrNotFound):
		fail(w, http.StatusBadRequest, "there is no such status")
	case err != nil:
		fail(w, http.StatusServiceUnavailable, "try again later") // shutting down
	default:
		answer(w, http.StatusOK, map[string]any{"success": true})
	}
}

func (s *server) postMessage(w http.ResponseWriter, r *http.Request, session *session) {
	var in struct{ Text string }
	if !s.read(w, r, &in) {
		return
	}
	if strings.TrimSpace(in.Text) == "" || utf8.RuneCountInString(in.Text) > maxMessage {
		fail(w, http.StatusBadRequest, fmt.Sprintf("a message has 1 to %d characters", maxMessage))
		return
	}
	s.room.say(session.account.Name, in.Text)
	answer(w, http.StatusOK, map[string]any{"success": true})
}

// roomEvents streams the events of the room, as statusEvents streams the catalog: first
// the state, then each event after it.
func (s *server) roomEvents(w http.ResponseWriter, r *http.Request, session *session) {
	ctx, cancel := session.during(r.Context())
	defer cancel()
	stream := openStream(w)

	seen, _ := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64) // 0 is no event
	for {
		events, more, ok := s.room.since(seen)
		if !ok {
			var all welcome
			all, seen = s.room.look()
			if stream.send(strconv.FormatUint(seen, 10), "room", all) != nil {
				return
			}
			continue
		}
		for _, e := range events {
			if stream.send(strconv.FormatUint(e.number, 10), e.name, e.data) != nil {
				return
			}
			seen = e.number
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}

// read decodes the JSON object in the body, or answers with the fault. It waits for the
// rest of a body until the server's ReadTimeout or the server's end.
func (s *server) read(w http.ResponseWriter, r *http.Request, into any) bool {
	control := http.NewResponseController(w)
	defer context.AfterFunc(s.life, func() { _ = control.SetReadDeadline(time.Now()) })()
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil && dec.More() {
		err = errors.New("more than one value")
	}
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		fail(w, http.StatusRequestEntityTooLarge, "the body is too large")
		return false
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "the body is not the JSON object that is expected here")
		return false
	}
	return true
}

// fail refuses a request. net/http reads the rest of an unread body, and a client that
// sends half a body must not keep the connection for long.
func fail(w http.ResponseWriter, code int, reason string) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(dropTimeout))
	answer(w, code, map[string]any{"success": false, "error": reason})
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}
