package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/client"
	"github.com/customstatus/customstatus/httpadapter"
)

// newServer starts a chat server in which everybody is logged in.
func newServer() (*httptest.Server, func()) {
	catalog, err := customstatus.Open(context.Background(), customstatus.NewMemoryStore(), nil)
	if err != nil {
		log.Fatal(err)
	}
	logins := func(_ context.Context, userID, _ string) (httpadapter.Caller, error) {
		return httpadapter.Caller{UserID: userID, MayManage: true}, nil
	}
	handler := httpadapter.New(catalog, httpadapter.HeaderAuth(logins), nil)
	server := httptest.NewServer(handler)
	return server, func() {
		handler.EndStreams()
		server.Close()
		_ = catalog.Close()
	}
}

func Example() {
	server, stop := newServer()
	defer stop()
	ctx := context.Background()
	c, err := client.New(server.URL, &client.Options{Credentials: client.Credentials{UserID: "admin", Token: "secret"}})
	if err != nil {
		log.Fatal(err)
	}
	lunch, err := c.Create(ctx, customstatus.Fields{Name: "Lunch", StatusType: customstatus.Away})
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Create(ctx, customstatus.Fields{Name: "Lunch", StatusType: customstatus.Busy})
	fmt.Println(errors.Is(err, customstatus.ErrNameInUse))
	fmt.Println(c.Delete(ctx, lunch.ID))
	// Output:
	// true
	// <nil>
}

// A program holds a live copy of the catalog.
func ExampleClient_Follow() {
	server, stop := newServer()
	defer stop()
	ctx := context.Background()
	c, err := client.New(server.URL, &client.Options{Credentials: client.Credentials{UserID: "admin", Token: "secret"}})
	if err != nil {
		log.Fatal(err)
	}
	for update, err := range c.Follow(ctx, customstatus.Position{}) {
		if err != nil {
			log.Print(err) // ctx is done, or the server refuses
			return
		}
		if update.Reset {
			fmt.Println("all", len(update.Statuses), "statuses")
			if _, err := c.Create(ctx, customstatus.Fields{Name: "Lunch", StatusType: customstatus.Away}); err != nil {
				log.Fatal(err)
			}
			continue
		}
		for _, change := range update.Changes {
			status := change.Status()
			fmt.Println(change.Kind, status.Name)
		}
		break
	}
	// Output:
	// all 0 statuses
	// created Lunch
}
