// Command embed keeps a catalog in a file and serves it to the users of a server. It is
// the smallest whole program with the library; examples/chatserver is a larger one.
package main

import (
	"context"
	"crypto/subtle"
	"log"
	"os"
	"os/signal"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	log.Print("serving on 127.0.0.1:4000 until Ctrl-C")
	if err := run(ctx, "chat.db", "127.0.0.1:4000", os.Getenv("CHAT_TOKEN")); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, file, addr, adminToken string) error {
	catalog, err := customstatus.OpenFile(ctx, file, nil)
	if err != nil {
		return err
	}
	defer catalog.Close()

	// Your server says who is logged in, and who may manage the statuses.
	login := func(ctx context.Context, userID, token string) (httpadapter.Caller, error) {
		same := subtle.ConstantTimeCompare([]byte(token), []byte(adminToken)) == 1
		if userID != "admin" || adminToken == "" || !same {
			return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
		}
		return httpadapter.Caller{UserID: userID, MayManage: true}, nil
	}
	return httpadapter.New(catalog, httpadapter.HeaderAuth(login), nil).ListenAndServe(ctx, addr, nil)
}
