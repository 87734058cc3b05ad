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

// keepCopy keeps statuses as the server has them, and shows them after each change. It ends
// with the error of ctx, or when the server refuses.
func keepCopy(ctx context.Context, c *client.Client, show func(map[string]customstatus.CustomUserStatus)) error {
	statuses := make(map[string]customstatus.CustomUserStatus)
	for update, err := range c.Follow(ctx, customstatus.Position{}) {
		if err != nil {
			return err
		}
		if update.Reset {
			clear(statuses)
		}
		for _, status := range update.Statuses {
			statuses[status.ID] = status
		}
		for _, change := range update.Changes {
			if change.Kind == customstatus.Deleted {
				delete(statuses, change.ID())
			} else {
				statuses[change.ID()] = change.After
			}
		}
		show(statuses)
	}
	return nil
}

func ExampleClient_Follow_copy() {
	server, stop := newServer()
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	c, err := client.New(server.URL, &client.Options{Credentials: client.Credentials{UserID: "admin", Token: "secret"}})
	if err != nil {
		log.Fatal(err)
	}
	err = keepCopy(ctx, c, func(statuses map[string]customstatus.CustomUserStatus) {
		fmt.Println(len(statuses))
		if len(statuses) == 1 {
			cancel()
		} else if _, err := c.Create(ctx, customstatus.Fields{Name: "Lunch", StatusType: customstatus.Away}); err != nil {
			log.Fatal(err)
		}
	})
	fmt.Println(err)
	// Output:
	// 0
	// 1
	// context canceled
}
