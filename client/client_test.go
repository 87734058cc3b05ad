package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/client"
	"github.com/customstatus/customstatus/httpadapter"
)

func TestOperations(t *testing.T) {
	for _, two := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", two), func(t *testing.T) {
			catalog := newCatalog(t)
			server := httptest.NewUnstartedServer(newHandler(t, catalog, httpadapter.Options{Metadata: true}))
			server.EnableHTTP2 = two
			server.StartTLS()
			t.Cleanup(server.Close)
			c := quick(t, server.URL+"/", client.Options{HTTPClient: server.Client()})
			ctx := t.Context()

			metadata := "emoji"
			lunch, err := c.Create(ctx, customstatus.Fields{Name: "Lunch", StatusType: customstatus.Away, Metadata: &metadata})
			require.NoError(t, err)
			want, err := catalog.Get(lunch.ID)
			require.NoError(t, err)
			want.Revision = 0
			require.Equal(t, want, lunch)

			lunch, err = c.Update(ctx, lunch.ID, customstatus.Fields{Name: "a.b", StatusType: customstatus.Busy})
			require.NoError(t, err)
			require.Equal(t, "emoji", lunch.Metadata)
			gym, err := c.Create(ctx, customstatus.Fields{Name: "Gym", StatusType: customstatus.Away})
			require.NoError(t, err)

			got, err := c.Get(ctx, lunch.ID)
			require.NoError(t, err)
			require.Equal(t, lunch, got)
			page, err := c.List(ctx, client.Query{NameContains: "A.", Sort: []customstatus.SortKey{{Field: customstatus.SortByUpdatedAt, Descending: true}}, Limit: 1})
			require.NoError(t, err)
			require.Equal(t, client.Page{Statuses: []customstatus.CustomUserStatus{lunch}, Total: 1, Position: catalog.Position(), PositionKnown: true}, page)
			page, err = c.List(ctx, client.Query{Offset: 1})
			require.NoError(t, err)
			require.Equal(t, 2, page.Total)
			require.Equal(t, []customstatus.CustomUserStatus{lunch}, page.Statuses)

			require.NoError(t, c.Delete(ctx, gym.ID))
			require.Equal(t, 1, catalog.Len())
		})
	}
}

func TestErrorsOfTheCatalog(t *testing.T) {
	catalog := newCatalog(t)
	url := serve(t, newHandler(t, catalog, httpadapter.Options{}))
	c, asReader := quick(t, url, client.Options{}), quick(t, url, client.Options{Credentials: reader})
	asNobody := quick(t, url, client.Options{Credentials: client.Credentials{UserID: "x", Token: "y"}})
	ctx := t.Context()
	taken, err := c.Create(ctx, customstatus.Fields{Name: "taken", StatusType: customstatus.Away})
	require.NoError(t, err)
	create := func(name string, kind customstatus.StatusType) error {
		_, err := c.Create(ctx, customstatus.Fields{Name: name, StatusType: kind})
		return err
	}
	get := func(c *client.Client, id string) error { _, err := c.Get(ctx, id); return err }
	update := func(id string) error {
		_, err := c.Update(ctx, id, customstatus.Fields{Name: "new", StatusType: customstatus.Busy})
		return err
	}
	list := func(q client.Query) error { _, err := c.List(ctx, q); return err }
	all := func(q client.Query) (err error) {
		for _, err = range c.All(ctx, q) {
		}
		return err
	}
	metadata := "m"
	_, withMetadata := c.Create(ctx, customstatus.Fields{Name: "n", StatusType: customstatus.Busy, Metadata: &metadata})
	for name, tt := range map[string]struct {
		err   error
		is    error
		field string
	}{
		"no name":            {create("", customstatus.Busy), customstatus.ErrRequired, customstatus.FieldName},
		"no type":            {create("x", ""), customstatus.ErrRequired, customstatus.FieldStatusType},
		"bad name":           {create("<", customstatus.Busy), customstatus.ErrInvalid, customstatus.FieldName},
		"bad type":           {create("x", "Busy"), customstatus.ErrInvalid, customstatus.FieldStatusType},
		"name in use":        {create("taken", customstatus.Busy), customstatus.ErrNameInUse, customstatus.FieldName},
		"update, unknown id": {update("nowhere"), customstatus.ErrNotFound, customstatus.FieldID},
		"update, no id":      {update(""), customstatus.ErrRequired, customstatus.FieldID},
		"delete, unknown id": {c.Delete(ctx, "nowhere"), customstatus.ErrNotFound, customstatus.FieldID},
		"delete, no id":      {c.Delete(ctx, ""), customstatus.ErrRequired, customstatus.FieldID},
		"get, unknown id":    {get(c, "nowhere"), customstatus.ErrNotFound, customstatus.FieldID},
		"get, no id":         {get(c, ""), customstatus.ErrNotFound, customstatus.FieldID},
		"metadata":           {withMetadata, customstatus.ErrInvalid, ""},
		"sort":               {list(client.Query{Sort: []customstatus.SortKey{{Field: "x"}}}), customstatus.ErrInvalid, ""},
		"offset":             {list(client.Query{Offset: -1}), customstatus.ErrInvalid, ""},
		"limit of all":       {all(client.Query{Limit: -1}), customstatus.ErrInvalid, ""},
		"not allowed":        {asReader.Delete(ctx, taken.ID), client.ErrForbidden, ""},
		"not logged in":      {get(asNobody, taken.ID), client.ErrUnauthorized, ""},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, tt.err, tt.is)
			require.NotErrorIs(t, tt.err, customstatus.ErrOutcomeUnknown)
			var e *customstatus.Error
			if tt.field == "" {
				require.False(t, errors.As(tt.err, &e))
				return
			}
			require.ErrorAs(t, tt.err, &e)
			require.Equal(t, tt.field, e.Field)
		})
	}
	var e *client.Error
	require.ErrorAs(t, create("taken", customstatus.Busy), &e)
	require.Equal(t, 400, e.Status)
	require.Equal(t, string(customstatus.CodeNameInUse), e.Code)
	require.NotEmpty(t, e.RequestID)
	require.Contains(t, e.Error(), "already in use")
}

func TestAnswersOfOthers(t *testing.T) {
	list := func(c *client.Client) error { _, err := c.List(context.Background(), client.Query{}); return err }
	all := func(c *client.Client) (err error) {
		for _, err = range c.All(context.Background(), client.Query{}) {
		}
		return err
	}
	create := func(c *client.Client) error {
		_, err := c.Create(context.Background(), customstatus.Fields{Name: "n", StatusType: customstatus.Busy})
		return err
	}
	unknown := customstatus.ErrOutcomeUnknown
	for name, tt := range map[string]struct {
		status   int
		body     string
		header   []string
		call     func(*client.Client) error
		is       []error
		not      error
		requests int64
	}{
		"a proxy's page":           {502, "<html>bad gateway", nil, list, []error{client.ErrUnexpectedAnswer}, unknown, 4},
		"a proxy's page, write":    {502, "<html>bad gateway", nil, create, []error{client.ErrUnexpectedAnswer, unknown}, nil, 1},
		"a portal, write":          {200, "<html>log in", nil, create, []error{client.ErrUnexpectedAnswer, unknown}, nil, 1},
		"a firewall":               {403, "<html>", nil, create, []error{client.ErrUnexpectedAnswer, client.ErrForbidden}, unknown, 1},
		"internal error, write":    {500, `{"success":false,"error":"Internal server error [error-internal]"}`, nil, create, []error{unknown}, client.ErrUnexpectedAnswer, 1},
		"no status in it":          {200, `{"success":true}`, nil, create, []error{client.ErrUnexpectedAnswer, unknown}, nil, 1},
		"no statuses in it":        {200, `{"success":true}`, nil, list, []error{client.ErrUnexpectedAnswer}, nil, 1},
		"a status without an id":   {200, `{"success":true,"statuses":[{"name":"n"}],"total":1}`, nil, list, []error{client.ErrUnexpectedAnswer}, nil, 1},
		"a success that is none":   {200, `{"success":false,"error":"no"}`, nil, list, nil, client.ErrUnexpectedAnswer, 4},
		"too much":                 {200, `{"success":true,"x":"` + strings.Repeat("x", 2000) + `"}`, nil, list, []error{client.ErrUnexpectedAnswer}, nil, 4},
		"a redirect of a write":    {307, "", []string{"Location", "/elsewhere"}, create, []error{client.ErrUnexpectedAnswer}, unknown, 1},
		"no such endpoint":         {404, `{"success":false,"error":"API endpoint not found"}`, nil, list, []error{errors.ErrUnsupported}, unknown, 1},
		"no such method":           {405, `{"success":false,"error":"Method not allowed"}`, nil, list, []error{errors.ErrUnsupported}, unknown, 1},
		"old 401":                  {401, `{"status":"error","message":"You must be logged in to do this."}`, nil, list, []error{client.ErrUnauthorized}, client.ErrUnexpectedAnswer, 1},
		"new 401":                  {401, `{"success":false,"error":"You must be logged in to do this."}`, nil, list, []error{client.ErrUnauthorized}, client.ErrUnexpectedAnswer, 1},
		"new 403":                  {403, `{"success":false,"error":"User does not have the permissions required for this action [error-unauthorized]"}`, nil, create, []error{client.ErrForbidden}, unknown, 1},
		"no code, but a bracket":   {400, `{"success":false,"error":"not_authorized]"}`, nil, create, nil, client.ErrForbidden, 1},
		"code in the text only":    {400, `{"success":false,"error":"The custom user status name is already in use [Custom_User_Status_Error_Name_Already_In_Use]"}`, nil, create, []error{customstatus.ErrNameInUse}, unknown, 1},
		"too large":                {400, `{"success":false,"error":"x","errorType":"error-status-too-large"}`, nil, create, []error{customstatus.ErrTooLarge}, unknown, 1},
		"full":                     {400, `{"success":false,"error":"x","errorType":"error-too-many-statuses"}`, nil, create, []error{customstatus.ErrFull}, unknown, 1},
		"limited":                  {429, `{"success":false,"error":"x [error-too-many-requests]"}`, []string{"Retry-After", "60"}, list, []error{client.ErrTooManyRequests}, nil, 1},
		"limited for no time":      {429, `{"success":false,"error":"x [error-too-many-requests]"}`, nil, list, []error{client.ErrTooManyRequests}, nil, 4},
		"limited, as Rocket.Chat":  {429, `{"success":false}`, []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "99999999999999"}, create, []error{client.ErrTooManyRequests}, unknown, 1},
		"a date to come back":      {503, `{"success":false}`, []string{"Retry-After", "Fri, 01 Jan 2100 00:00:00 GMT"}, list, nil, client.ErrUnexpectedAnswer, 1},
		"a century to wait":        {503, `{"success":false}`, []string{"Retry-After", "9999999999"}, list, nil, client.ErrUnexpectedAnswer, 1},
		"a page out of order":      {200, `{"success":true,"statuses":[{"_id":"b"},{"_id":"a"}],"total":5}`, nil, all, []error{client.ErrUnexpectedAnswer}, nil, 1},
		"one page for ever":        {200, `{"success":true,"statuses":[{"_id":"a"},{"_id":"b"}],"total":9000000000000000000}`, nil, all, []error{client.ErrUnexpectedAnswer}, nil, 66},
		"the first page again":     {200, `{"success":true,"statuses":[{"_id":"a"},{"_id":"b"}],"offset":0,"total":3}`, nil, all, []error{client.ErrUnexpectedAnswer}, nil, 2},
		"a write that timed out":   {408, ``, nil, create, []error{unknown}, nil, 1},
		"an answer that isn't one": {200, `{"success":true,"total":"x"}`, nil, list, []error{client.ErrUnexpectedAnswer}, nil, 4},
	} {
		t.Run(name, func(t *testing.T) {
			h, n := answers(tt.status, tt.body, tt.header...)
			c := quick(t, serve(t, h), client.Options{MaxAnswerBytes: 1000})
			err := tt.call(c)
			require.Error(t, err)
			for _, is := range tt.is {
				require.ErrorIs(t, err, is)
			}
			if tt.not != nil {
				require.NotErrorIs(t, err, tt.not)
			}
			require.Equal(t, tt.requests, n.Load())
		})
	}
}

func TestTokenStaysWithItsHost(t *testing.T) {
	other, n := answers(200, `{}`)
	target := serve(t, other)
	first := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("moved") != "" {
			_, _ = w.Write([]byte(`{"success":true,"statuses":[],"total":0}`))
			return
		}
		if strings.HasSuffix(r.URL.Path, "stream") {
			http.Redirect(w, r, target, http.StatusFound)
			return
		}
		where := "?moved=1"
		if r.URL.Query().Get("_id") != "" {
			where = target
		}
		http.Redirect(w, r, where, http.StatusFound)
	}))
	c := quick(t, first, client.Options{})
	_, err := c.List(t.Context(), client.Query{})
	require.NoError(t, err, "within the origin")
	_, err = c.Get(t.Context(), "x")
	require.ErrorIs(t, err, client.ErrUnexpectedAnswer)
	require.ErrorContains(t, err, target)
	for _, err = range c.Watch(t.Context(), customstatus.Position{}) {
	}
	require.ErrorIs(t, err, client.ErrUnexpectedAnswer)
	require.Zero(t, n.Load())
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "who", manager)
	require.Contains(t, log.String(), manager.UserID)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", manager, manager, manager)+log.String(), manager.Token)
}

// TestInvalidUTF8: JSON has no form for it, so it is refused, and not replaced.
func TestInvalidUTF8(t *testing.T) {
	catalog := newCatalog(t)
	c := quick(t, serve(t, newHandler(t, catalog, httpadapter.Options{Metadata: true})), client.Options{})
	bad, ctx := "a\xff", t.Context()
	replaced, err := catalog.Create(ctx, customstatus.Fields{Name: "there", StatusType: customstatus.Busy})
	require.NoError(t, err)
	for field, f := range map[string]customstatus.Fields{
		customstatus.FieldName:       {Name: bad, StatusType: customstatus.Busy},
		customstatus.FieldStatusType: {Name: "n", StatusType: customstatus.StatusType(bad)},
		customstatus.FieldMetadata:   {Name: "n", StatusType: customstatus.Busy, Metadata: &bad},
	} {
		_, created := c.Create(ctx, f)
		_, updated := c.Update(ctx, replaced.ID, f)
		for _, err := range []error{created, updated} {
			var e *customstatus.Error
			require.ErrorIs(t, err, customstatus.ErrInvalid)
			require.ErrorAs(t, err, &e)
			require.Equal(t, []string{field, "a\uFFFD"}, []string{e.Field, e.Input})
		}
	}
	_, got := c.Get(ctx, bad)
	_, updated := c.Update(ctx, bad, customstatus.Fields{Name: "n", StatusType: customstatus.Busy})
	for _, err := range []error{got, updated, c.Delete(ctx, bad)} {
		require.ErrorIs(t, err, customstatus.ErrNotFound)
	}
	require.EqualValues(t, 1, catalog.Revision(), "nothing was written")
}

func TestWritesAreRepeatedOnlyIfNothingWasSent(t *testing.T) {
	fields := customstatus.Fields{Name: "n", StatusType: customstatus.Busy}
	h, n := answers(200, `{"success":true,"customUserStatus":{"_id":"x","name":"n","statusType":"busy"}}`)
	address := strings.TrimPrefix(serve(t, h), "http://")
	dials := 0
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		if dials++; dials < 3 {
			return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	c := quick(t, "http://x", client.Options{HTTPClient: &http.Client{Transport: transport}})
	s, err := c.Create(t.Context(), fields)
	require.NoError(t, err)
	require.True(t, s.UpdatedAt.IsZero(), "_updatedAt is missing")
	require.EqualValues(t, 1, n.Load())

	var cut atomic.Int64
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		cut.Add(1)
		panic(http.ErrAbortHandler)
	}))
	c = quick(t, url, client.Options{})
	_, err = c.Create(t.Context(), fields)
	require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
	require.EqualValues(t, 1, cut.Load())
	_, err = c.List(t.Context(), client.Query{})
	require.Error(t, err)
	require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown)
	require.GreaterOrEqual(t, cut.Load(), int64(5))

	done, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Create(done, fields)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown)
}

func TestSlowServer(t *testing.T) {
	held := make(chan struct{})
	url := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-held }))
	defer close(held)
	c := quick(t, url, client.Options{Timeout: time.Millisecond, Retries: 1})
	_, err := c.List(t.Context(), client.Query{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, c.Delete(t.Context(), "x"), customstatus.ErrOutcomeUnknown)

	// A context that ends while the client waits is named, and why it waited.
	ctx, cancel := context.WithCancel(t.Context())
	h, _ := answers(503, `{"success":false}`)
	c = quick(t, serve(t, h), client.Options{OnRetry: func(error, time.Duration) { cancel() }})
	_, err = c.List(ctx, client.Query{})
	require.ErrorIs(t, err, context.Canceled)
	var answer *client.Error
	require.ErrorAs(t, err, &answer)
	require.Equal(t, 503, answer.Status)
}

func TestRenewedCredentials(t *testing.T) {
	url := serve(t, newHandler(t, newCatalog(t), httpadapter.Options{}))
	var refused []client.Credentials
	next := client.Credentials{UserID: "x", Token: "expired"}
	renew := func(_ context.Context, old client.Credentials) (client.Credentials, error) {
		refused = append(refused, old)
		defer func() { next = manager }()
		return next, nil
	}
	c, err := client.New(url, &client.Options{Renew: renew})
	require.NoError(t, err)
	_, err = c.Create(t.Context(), customstatus.Fields{Name: "n", StatusType: customstatus.Busy})
	require.NoError(t, err)
	require.Equal(t, []client.Credentials{{}, {UserID: "x", Token: "expired"}}, refused)

	c, err = client.New(url, &client.Options{Renew: func(context.Context, client.Credentials) (client.Credentials, error) {
		return client.Credentials{}, errors.New("no login server")
	}})
	require.NoError(t, err)
	require.ErrorContains(t, c.Delete(t.Context(), "x"), "no login server")
	same := client.Credentials{UserID: "x", Token: "y"}
	c, err = client.New(url, &client.Options{Credentials: same, Renew: func(context.Context, client.Credentials) (client.Credentials, error) { return same, nil }})
	require.NoError(t, err)
	err = c.Delete(t.Context(), "x")
	require.ErrorIs(t, err, client.ErrUnauthorized)
	var answer *client.Error
	require.ErrorAs(t, err, &answer)
	require.NotEmpty(t, answer.RequestID, "the server's refusal")
}

func TestNewRefuses(t *testing.T) {
	for _, url := range []string{"", "chat.example", "ftp://x", "http://", "http://u:secret@x", "http://x?a", "http://x#a", "http://u:secret@\x00", "http://secret@x", "http://x?secret", "x?secret", "secret@x"} {
		_, err := client.New(url, nil)
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "secret")
	}
	_, err := client.New("http://x", &client.Options{MaxWait: -1})
	require.Error(t, err)
}
