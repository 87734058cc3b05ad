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
	"path/filepath"
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

// policy lets the page use this server's own scripts, styles, images and answers, and
// nothing else. Trusted types refuse every script that would make HTML of a text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

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

// newServer opens the accounts and the catalog. Logins, streams and goroutines end with
// ctx. The caller must call close after that.
func newServer(ctx context.Context, opts options) (*server, error) {
	logins, err := openAccounts(ctx, opts.data, opts.rounds)
	if err != nil {
		return nil, err
	}
	store := opts.store
	if store == "" {
		store = "bolt:" + filepath.Join(opts.data, "statuses.db")
	}
	catalog, err := openCatalog(ctx, store)
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

// close closes the catalog. Another server may then open a file.
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
		// Of several servers that start at once, only the first one fills the catalog.
		if err != nil && !errors.Is(err, customstatus.ErrNameInUse) {
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

	// A browser sends the cookie also with the requests of pages that this server
	// has not made, so those of other origins are refused.
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusForbidden, "cross-origin", "the request comes from another origin")
	}))
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /session":                  s.whoAmI,
		"POST /session":                 s.signIn,
		"DELETE /session":               s.signOut,
		"POST /api/v1/login":            s.login,
		"POST /api/v1/logout":           s.loggedIn(s.logout),
		"POST /api/v1/users.create":     s.loggedIn(s.createUser),
		"POST /api/v1/users.setStatus":  s.loggedIn(s.setStatus),
		"POST /api/v1/chat.postMessage": s.loggedIn(s.postMessage),
		"GET /api/v1/chat.roomEvents":   s.loggedIn(s.roomEvents),
		"GET /api/v1/chat.statusEvents": s.loggedIn(s.statusEvents),
	} {
		mux.Handle(pattern, protection.Handler(handler))
	}

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		mux.ServeHTTP(w, r)
	})
}

// loggedIn passes on the requests that belong to a session, and refuses all others.
func (s *server) loggedIn(next func(http.ResponseWriter, *http.Request, *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		session, ok := s.accounts.session(r)
		if !ok {
			fail(w, http.StatusUnauthorized, "unauthorized", "nobody is logged in")
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
		fail(w, http.StatusServiceUnavailable, "try-again", "try again later") // the client has gone
	default:
		answer(w, http.StatusOK, map[string]any{
			"status": "success",
			"data":   map[string]any{"userId": session.account.ID, "authToken": token, "me": me(session.account)},
		})
	}
}

// me is what people are told about themselves.
func me(acc account) map[string]any {
	roles := []string{"user"}
	if acc.Admin {
		roles = append(roles, "admin")
	}
	return map[string]any{"_id": acc.ID, "username": acc.Name, "roles": roles}
}

func (s *server) logout(w http.ResponseWriter, r *http.Request, session *session) {
	s.end(session)
	answer(w, http.StatusOK, map[string]any{"status": "success", "data": map[string]any{"message": "You've been logged out!"}})
}

// end ends a session and its streams, those of the adapter too.
func (s *server) end(session *session) {
	session.close()
	s.endpoints.RecheckLogins()
}

func (s *server) createUser(w http.ResponseWriter, r *http.Request, session *session) {
	if !session.account.Admin {
		fail(w, http.StatusForbidden, "not-authorized", "only an admin may add people")
		return
	}
	var in struct{ Username, Password string }
	if !s.read(w, r, &in) {
		return
	}
	acc, err := s.accounts.add(r.Context(), in.Username, in.Password, false)
	switch {
	case errors.Is(err, errBadAccount):
		fail(w, http.StatusBadRequest, "bad-account", err.Error())
	case errors.Is(err, errNameTaken):
		fail(w, http.StatusBadRequest, "name-taken", err.Error())
	case err != nil:
		fail(w, http.StatusInternalServerError, "internal", "the account could not be kept")
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
		fail(w, http.StatusBadRequest, "no-such-status", "there is no such status")
	case err != nil:
		fail(w, http.StatusServiceUnavailable, "try-again", "try again later") // shutting down
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
		fail(w, http.StatusBadRequest, "message-length", fmt.Sprintf("a message has 1 to %d characters", maxMessage))
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
		fail(w, http.StatusRequestEntityTooLarge, "body-too-large", "the body is too large")
		return false
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "bad-body", "the body is not the JSON object that is expected here")
		return false
	}
	return true
}

// fail refuses a request. The code is for programs, which choose their own words by it.
// The reason is for those who write the programs. The adapter answers in the same form.
//
// net/http reads the rest of an unread body, and a client that
// sends half a body must not keep the connection for long.
func fail(w http.ResponseWriter, status int, code, reason string) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(dropTimeout))
	answer(w, status, map[string]any{"success": false, "error": reason, "errorType": code})
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}
