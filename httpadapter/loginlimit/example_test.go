package loginlimit_test

import (
	"context"
	"fmt"
	"log"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/loginlimit"
	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

// The limit wraps the handler.
func ExampleNew() {
	ctx, cancel := context.WithCancel(context.Background())
	catalog, err := customstatus.Open(ctx, customstatus.NewMemoryStore(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer catalog.Close()
	var tokens tokenauth.Tokens
	api := httpadapter.New(catalog, httpadapter.HeaderAuth(tokens.Login), nil)

	cancel() // without this, the server runs until ctx is done
	fmt.Println(api.ListenAndServe(ctx, "127.0.0.1:0", loginlimit.New(api, nil)))
	// Output: <nil>
}
