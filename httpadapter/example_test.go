package httpadapter_test

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

// A chat server mounts the endpoints beside its own and authenticates its users.
func Example() {
	catalog, err := customstatus.Open(context.Background(), customstatus.NewMemoryStore(), &customstatus.Options{
		Now:   func() time.Time { return time.Date(2021, 9, 26, 14, 3, 43, 57e6, time.UTC) }, // so that the output is always the same
		NewID: func() string { return "EscbQinc8jmeXbpt7" },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer catalog.Close()

	// The sessions of the chat server, by user id.
	type session struct {
		token string
		admin bool
	}
	sessions := map[string]session{"KDgshs2PcfJn8suegn69Mo": {token: "Tkezshpjs9bi_kO09J4PcQM72UESdz9Dit6tT1uEzYMLnqzI", admin: true}}

	logins := func(_ context.Context, userID, authToken string) (httpadapter.Caller, error) {
		s, ok := sessions[userID]
		if !ok || subtle.ConstantTimeCompare([]byte(s.token), []byte(authToken)) == 0 {
			return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
		}
		return httpadapter.Caller{UserID: userID, MayManage: s.admin}, nil
	}

	mux := http.NewServeMux()
	mux.Handle("/api/v1/", httpadapter.New(catalog, httpadapter.HeaderAuth(logins), nil))
	server := httptest.NewServer(mux)
	defer server.Close()

	call := func(method, endpoint, body, token string) {
		req, err := http.NewRequest(method, server.URL+"/api/v1/"+endpoint, strings.NewReader(body))
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("X-User-Id", "KDgshs2PcfJn8suegn69Mo")
		req.Header.Set("X-Auth-Token", token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil {
			log.Fatal(err)
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, answer, "", "  "); err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.StatusCode, indented.String())
	}
	call("POST", "custom-user-status.create", `{"name":"In a meeting","statusType":"busy"}`, "Tkezshpjs9bi_kO09J4PcQM72UESdz9Dit6tT1uEzYMLnqzI")
	call("GET", "custom-user-status.list?name=meet", "", "guessed")

	// Output:
	// 200 {
	//   "customUserStatus": {
	//     "_id": "EscbQinc8jmeXbpt7",
	//     "name": "In a meeting",
	//     "statusType": "busy",
	//     "_updatedAt": "2021-09-26T14:03:43.057Z"
	//   },
	//   "success": true
	// }
	// 401 {
	//   "success": false,
	//   "status": "error",
	//   "message": "You must be logged in to do this.",
	//   "error": "unauthorized"
	// }
}

// A whole server shuts down in order when its context is done.
func ExampleHandler_ListenAndServe() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	catalog, err := customstatus.Open(ctx, customstatus.NewMemoryStore(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer catalog.Close()
	var tokens tokenauth.Tokens // an empty set lets nobody in
	api := httpadapter.New(catalog, httpadapter.HeaderAuth(tokens.Login), nil)

	stop() // an interrupt does the same
	fmt.Println(api.ListenAndServe(ctx, "127.0.0.1:0", nil))
	// Output: <nil>
}

// A host with a server of its own ends the streams when the server shuts down.
func ExampleHandler_EndStreams() {
	catalog, err := customstatus.Open(context.Background(), customstatus.NewMemoryStore(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer catalog.Close()
	handler := httpadapter.New(catalog, httpadapter.HeaderAuth(new(tokenauth.Tokens).Login), nil)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	server.RegisterOnShutdown(handler.EndStreams)
	fmt.Println(server.Shutdown(context.Background()))
	// Output: <nil>
}
