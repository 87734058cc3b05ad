package tokenauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"

	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

// A server without logins of its own hands out tokens and keeps their hashes.
func Example() {
	var tokens tokenauth.Tokens
	secret := tokenauth.NewSecret() // shown to the user once
	err := tokens.Add(tokenauth.Token{UserID: "alice", Hash: tokenauth.HashOf(secret), MayManage: true})
	if err != nil {
		log.Fatal(err)
	}
	file, err := json.Marshal(tokens.All()) // a file may hold this
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("secret in the file:", bytes.Contains(file, []byte(secret)))

	caller, err := tokens.Login(context.Background(), "alice", secret)
	fmt.Println(caller.UserID, caller.MayManage, err)
	tokens.RevokeUser("alice")
	_, err = tokens.Login(context.Background(), "alice", secret)
	fmt.Println(err)
	// Output:
	// secret in the file: false
	// alice true <nil>
	// not logged in
}
