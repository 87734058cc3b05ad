// Command embed is a chat server's first attempt at the library: a catalog in a
// file, and the endpoints in front of it.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

func main() {
	dir, err := os.MkdirTemp("", "embed-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	store, err := customstatus.OpenBolt(filepath.Join(dir, "statuses.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	catalog, err := customstatus.Open(ctx, store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer catalog.Close()
	if _, err := catalog.Create(ctx, customstatus.Fields{Name: "In a meeting", StatusType: customstatus.Busy}); err != nil {
		log.Fatal(err)
	}

	anyone := func(context.Context, string, string) (httpadapter.Caller, error) {
		return httpadapter.Caller{UserID: "u"}, nil
	}
	server := httptest.NewServer(httpadapter.New(catalog, &httpadapter.Options{
		Authenticator: httpadapter.AuthenticatorFunc(anyone),
	}))
	defer server.Close()
	request, err := http.NewRequest("GET", server.URL+"/api/v1/custom-user-status.list", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("X-User-Id", "u")
	request.Header.Set("X-Auth-Token", "t")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK || !strings.Contains(string(body), `"name":"In a meeting"`) {
		log.Fatalf("%s\n%s", answer.Status, body)
	}
	fmt.Println("the status was served")
}
