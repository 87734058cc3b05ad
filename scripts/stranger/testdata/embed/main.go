// Command embed is a first program with the library. It has a catalog in a
// file, serves the endpoints, and uses every other public package.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/loginlimit"
	"github.com/customstatus/customstatus/httpadapter/tokenauth"
	"github.com/customstatus/customstatus/salvage"
)

func main() {
	dir, err := os.MkdirTemp("", "embed-")
	if err == nil {
		err = errors.Join(run(dir), os.RemoveAll(dir))
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the status was served")
}

func run(dir string) error {
	file := filepath.Join(dir, "chat.db")
	if err := serve(file); err != nil {
		return err
	}
	// As a backup script would check the file.
	saved, err := salvage.File(file, nil)
	if err != nil {
		return err
	}
	if !saved.Complete || len(saved.Statuses) != 1 || saved.Statuses[0].Metadata != "📅" {
		return fmt.Errorf("the file has %+v", saved)
	}
	return nil
}

// serve opens the file, serves the endpoints and calls them.
func serve(file string) (err error) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	catalog, err := customstatus.OpenFile(ctx, file, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, catalog.Close()) }()
	emoji := "📅"
	if _, err := catalog.Create(ctx, customstatus.Fields{Name: "In a meeting", StatusType: customstatus.Busy, Metadata: &emoji}); err != nil {
		return err
	}

	secret := tokenauth.NewSecret()
	var tokens tokenauth.Tokens
	if err := tokens.Add(tokenauth.Token{UserID: "u", Hash: tokenauth.HashOf(secret)}); err != nil {
		return err
	}
	api := httpadapter.New(catalog, httpadapter.HeaderAuth(tokens.Login), nil)
	mux := http.NewServeMux()
	mux.Handle(httpadapter.DefaultPrefix, loginlimit.New(api, nil))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- api.Serve(ctx, listener, mux) }()
	url := "http://" + listener.Addr().String() + "/api/v1/custom-user-status.list"
	asked := errors.Join(
		get(url, secret, http.StatusOK, `"name":"In a meeting"`),
		get(url, "guessed", http.StatusUnauthorized, "unauthorized"),
	)
	stop()
	return errors.Join(asked, <-ended)
}

func get(url, secret string, code int, part string) error {
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("X-User-Id", "u")
	request.Header.Set("X-Auth-Token", secret)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != code || !strings.Contains(string(body), part) {
		return fmt.Errorf("%s\n%s", answer.Status, body)
	}
	return nil
}
