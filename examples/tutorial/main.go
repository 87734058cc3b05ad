// Command tutorial is the chat server that docs/tutorial.md builds: people write
// messages and pick a status, and an admin edits the statuses.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

//go:embed page.html
var page []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, cmp.Or(os.Getenv("CHAT_ADDR"), "127.0.0.1:4000")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr string) error {
	catalog, err := customstatus.OpenFile(ctx, "chat.db", nil)
	if err != nil {
		return err
	}
	defer catalog.Close()

	room := newRoom(ctx, rand.Text())
	fmt.Println("the password of admin:", room.password)
	fmt.Println("open http://" + addr)
	api := httpadapter.New(catalog, httpadapter.AuthenticatorFunc(room.caller), nil)
	return api.ListenAndServe(ctx, addr, handler(room, api))
}

// caller tells the adapter who makes a request. Only admin may manage the statuses.
func (c *room) caller(r *http.Request) (httpadapter.Caller, error) {
	person := c.person(r)
	if person == "" {
		return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
	}
	return httpadapter.Caller{UserID: person, MayManage: person == "admin"}, nil
}

// handler serves the page, the room and the statuses.
func handler(room *room, api http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(httpadapter.DefaultPrefix, api)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	// The adapter protects its own endpoints against pages of other origins.
	guard := http.NewCrossOriginProtection()
	mux.Handle("POST /login", guard.Handler(http.HandlerFunc(room.login)))
	mux.Handle("POST /say", guard.Handler(http.HandlerFunc(room.say)))
	mux.Handle("POST /pick", guard.Handler(http.HandlerFunc(room.pick)))
	mux.HandleFunc("GET /room", room.wait)
	return mux
}
