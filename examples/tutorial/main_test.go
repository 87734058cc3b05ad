package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

// browser keeps the cookie of a person.
type browser struct {
	t   *testing.T
	url string
	*http.Client
}

func (b browser) post(path string, form url.Values) int {
	b.t.Helper()
	res, err := b.PostForm(b.url+path, form)
	require.NoError(b.t, err)
	res.Body.Close()
	return res.StatusCode
}

func (b browser) room(seen string) (now state) {
	b.t.Helper()
	res, err := b.Get(b.url + "/room?seen=" + seen)
	require.NoError(b.t, err)
	defer res.Body.Close()
	require.Equal(b.t, http.StatusOK, res.StatusCode)
	require.NoError(b.t, json.NewDecoder(res.Body).Decode(&now))
	return now
}

func TestChat(t *testing.T) {
	catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
	require.NoError(t, err)
	defer catalog.Close()
	room := newRoom(t.Context(), "secret")
	api := httpadapter.New(catalog, httpadapter.AuthenticatorFunc(room.caller), nil)
	server := httptest.NewServer(handler(room, api))
	defer server.Close()
	defer api.EndStreams()
	open := func() browser {
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		return browser{t, server.URL, &http.Client{Jar: jar}}
	}
	admin, ann := open(), open()

	require.Equal(t, http.StatusUnauthorized, ann.post("/say", url.Values{"text": {"hello"}}))
	require.Equal(t, http.StatusForbidden, ann.post("/login", url.Values{"name": {"admin"}, "password": {"guessed"}}))
	require.Equal(t, http.StatusOK, ann.post("/login", url.Values{"name": {"Ann"}}))
	require.Equal(t, http.StatusForbidden, open().post("/login", url.Values{"name": {"Ann"}}), "taken")
	require.Equal(t, http.StatusOK, admin.post("/login", url.Values{"name": {"admin"}, "password": {"secret"}}))

	const statuses = "/api/v1/custom-user-status."
	res, err := ann.Get(server.URL + statuses + "stream")
	require.NoError(t, err)
	defer res.Body.Close()
	lunch := url.Values{"name": {"Lunch"}, "statusType": {"away"}}
	require.Equal(t, http.StatusBadRequest, ann.post(statuses+"create", lunch), "only admin may")
	require.Equal(t, http.StatusOK, admin.post(statuses+"create", lunch))
	status, err := catalog.GetByName("Lunch")
	require.NoError(t, err)
	stream := bufio.NewScanner(res.Body)
	for stream.Scan() && !strings.Contains(stream.Text(), status.ID) {
	}
	require.NoError(t, stream.Err())

	before := ann.room("0")
	require.Equal(t, http.StatusOK, ann.post("/pick", url.Values{"text": {status.ID}}))
	require.Equal(t, http.StatusOK, ann.post("/say", url.Values{"text": {"bye"}}))
	now := admin.room("1")
	require.Equal(t, before.Version+2, now.Version)
	require.Equal(t, map[string]string{"admin": "", "Ann": status.ID}, now.Picked)
	require.Equal(t, []string{"Ann: bye"}, now.Messages)
	require.Equal(t, http.StatusBadRequest, ann.post("/say", url.Values{"text": {strings.Repeat("a", 2000)}}))

	res, err = ann.Get(server.URL)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, "text/html; charset=utf-8", res.Header.Get("Content-Type"))
}
