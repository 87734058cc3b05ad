package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/customstatus/customstatus/httpadapter/tokenauth"
	"github.com/customstatus/customstatus/internal/strictjson"
)

// sessionPath is where browsers sign in and out.
const sessionPath = "/session"

const (
	maxSessionBody  = 4 << 10
	sessionBodyTime = 10 * time.Second
)

// Cookies of a secure connection have a prefix that browsers take only from one.
const (
	sessionCookie       = "customstatus"
	secureSessionCookie = "__Host-customstatus"
)

// isSecure reports whether the browser's connection is encrypted: to this server, or to
// a proxy that says so. A client that lies about it harms only its own cookie.
func isSecure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func sessionCookieName(r *http.Request) string {
	if isSecure(r) {
		return secureSessionCookie
	}
	return sessionCookie
}

// sessionID returns the id in the request's cookie, or "". Of two such cookies, one
// may have been planted.
func sessionID(r *http.Request) string {
	if cookies := r.CookiesNamed(sessionCookieName(r)); len(cookies) == 1 {
		return cookies[0].Value
	}
	return ""
}

// setCookie gives the browser the id of its session. An empty id takes it away.
func setCookie(w http.ResponseWriter, r *http.Request, id string, lifetime time.Duration) {
	age := int(lifetime / time.Second)
	if id == "" {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookieName(r), Value: id, Path: "/", MaxAge: age,
		HttpOnly: true, Secure: isSecure(r), SameSite: http.SameSiteStrictMode,
	})
}

// handler serves the sessions at sessionPath, and next elsewhere. The limiter sees
// failed attempts to sign in as it sees those of other requests. Only pages of the
// server's own origin and of the trusted ones can sign in or out.
func (s *sessions) handler(next http.Handler, limit func(http.Handler) http.Handler, trusted []string) http.Handler {
	if s.lifetime == 0 {
		return limit(next)
	}
	guard := http.NewCrossOriginProtection()
	for _, origin := range trusted {
		must(guard.AddTrustedOrigin(origin)) // the flags are checked
	}
	limited := limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == sessionPath {
			s.serve(w, r)
		} else {
			next.ServeHTTP(w, r)
		}
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != sessionPath {
			limited.ServeHTTP(w, r)
			return
		}
		w.Header().Set(requestIDHeader, requestID(r))
		// A writer that can't set a deadline has no connection to wait for.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(sessionBodyTime))
		if guard.Check(r) != nil {
			refuse(w, http.StatusForbidden, "The request comes from another origin", "error-cross-origin")
			return
		}
		if r.Method == http.MethodPost {
			credentials, problem := readCredentials(r.Body)
			if problem != "" {
				refuse(w, http.StatusBadRequest, problem, "invalid-params")
				return
			}
			// The limiter knows an attempt to log in by its headers.
			r = r.Clone(r.Context())
			r.Header["X-User-Id"], r.Header["X-Auth-Token"] = []string{credentials.userID}, []string{credentials.token}
		}
		limited.ServeHTTP(w, r)
	})
}

// requestID returns the request's own id if it is fit for a log, or else a new one, as
// the adapter does.
func requestID(r *http.Request) string {
	if ids := r.Header[requestIDHeader]; len(ids) == 1 && fitRequestID.MatchString(ids[0]) {
		return ids[0]
	}
	return strings.ToLower(rand.Text()[:13])
}

var fitRequestID = regexp.MustCompile(`^[0-9A-Za-z_.-]{1,64}$`)

func (s *sessions) serve(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		s.signIn(w, r)
	case http.MethodDelete:
		s.signOut(w, r)
	case http.MethodGet, http.MethodHead:
		record, token, err := s.find(sessionID(r))
		if err != nil {
			unauthorized(w)
			return
		}
		noteUser(r.Context(), token.UserID)
		answerSession(w, record, token)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST, DELETE")
		refuse(w, http.StatusMethodNotAllowed, "Method not allowed", "")
	}
}

// signIn begins a session for the credentials in the headers. One that the browser had
// before is over.
func (s *sessions) signIn(w http.ResponseWriter, r *http.Request) {
	userID, secret := r.Header.Get("X-User-Id"), r.Header.Get("X-Auth-Token")
	if _, err := s.tokens.Login(r.Context(), userID, secret); err != nil {
		unauthorized(w)
		return
	}
	hash := tokenauth.HashOf(secret)
	token, found := s.tokens.tokens.Find(userID, hash)
	if !found { // revoked meanwhile
		unauthorized(w)
		return
	}
	if err := s.end(sessionID(r)); err != nil {
		s.log.Error("the sessions can't be saved", "error", err)
	}
	id, record := s.begin(userID, hash)
	setCookie(w, r, id, s.lifetime)
	answerSession(w, record, token)
}

func (s *sessions) signOut(w http.ResponseWriter, r *http.Request) {
	id := sessionID(r)
	if record, _, err := s.find(id); err == nil {
		noteUser(r.Context(), record.UserID)
	}
	setCookie(w, r, "", 0)
	if err := s.end(id); err != nil {
		s.log.Error("the end of a session can't be saved, so a restart or another server would bring it back", "error", err)
		refuse(w, http.StatusInternalServerError, "Internal server error", "error-internal")
		return
	}
	answer(w, http.StatusOK, []byte(`{"success":true}`))
}

// credentials are what a browser signs in with.
type credentials struct{ userID, token string }

// readCredentials reads the body of a sign-in, or returns what is wrong with it.
func readCredentials(body io.Reader) (c credentials, problem string) {
	text, err := io.ReadAll(io.LimitReader(body, maxSessionBody+1))
	switch {
	case err != nil:
		return c, "The request body can't be read"
	case len(text) > maxSessionBody:
		return c, "The request body is too large"
	}
	err = strictjson.Object(text, func(key string, value json.RawMessage) (err error) {
		switch key {
		case "userId":
			c.userID, err = strictjson.String(value)
		case "authToken":
			c.token, err = strictjson.String(value)
		default:
			err = errors.New("unknown")
		}
		return err
	})
	switch {
	case err != nil:
		return c, "The request body is not a JSON object with the keys userId and authToken"
	case c.userID == "" || c.token == "":
		return c, "The keys userId and authToken are required"
	}
	return c, ""
}

func answerSession(w http.ResponseWriter, record sessionRecord, token tokenauth.Token) {
	body, err := json.Marshal(struct {
		UserID    string    `json:"userId"`
		MayManage bool      `json:"mayManage"`
		ExpiresAt time.Time `json:"expiresAt"`
		Success   bool      `json:"success"`
	}{token.UserID, token.MayManage, record.ExpiresAt, true})
	must(err)
	answer(w, http.StatusOK, body)
}

// unauthorized answers as the adapter does.
func unauthorized(w http.ResponseWriter) {
	answer(w, http.StatusUnauthorized, []byte(`{"success":false,"status":"error","message":"You must be logged in to do this.","error":"unauthorized"}`))
}

// refuse answers with an error in the adapter's form.
func refuse(w http.ResponseWriter, status int, text, code string) {
	b := []byte(`{"success":false,"error":`)
	if code == "" {
		b = append(strictjson.AppendString(b, text), '}')
	} else {
		b = append(strictjson.AppendString(b, text+" ["+code+"]"), `,"errorType":"`+code+`"}`...)
	}
	answer(w, status, b)
}

func answer(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // fails only if the client has gone
}
