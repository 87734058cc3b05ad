package customstatus_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/customstatus/customstatus"
)

func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	catalog, err := customstatus.OpenFile(ctx, filepath.Join(dir, "customstatus.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer catalog.Close() // closes the file, too

	meeting, err := catalog.Create(ctx, customstatus.Fields{Name: "In a meeting", StatusType: customstatus.Busy})
	if err != nil {
		log.Fatal(err)
	}
	_, err = catalog.Create(ctx, customstatus.Fields{Name: "In a meeting", StatusType: customstatus.Away})
	fmt.Println(errors.Is(err, customstatus.ErrNameInUse))

	got, err := catalog.Get(meeting.ID)
	fmt.Println(got.Name, got.StatusType, err)
	// Output:
	// true
	// In a meeting busy <nil>
}

func ExampleCatalog_Watch() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	catalog, err := customstatus.Open(ctx, customstatus.NewMemoryStore(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer catalog.Close()

	// What there is, and then all that changes.
	page, err := catalog.List(customstatus.Query{})
	if err != nil {
		log.Fatal(err)
	}
	lunch, err := catalog.Create(ctx, customstatus.Fields{Name: "Lunch", StatusType: customstatus.Away})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := catalog.Delete(ctx, lunch.ID, nil); err != nil {
		log.Fatal(err)
	}
	for commit, err := range catalog.Watch(ctx, page.Position) {
		if err != nil {
			break // ErrCompacted: list again
		}
		for _, change := range commit.Changes {
			fmt.Println(commit.Revision, change.Kind, change.Status().Name)
		}
		if commit.Revision == catalog.Revision() {
			stop()
		}
	}
	// Output:
	// 1 created Lunch
	// 2 deleted Lunch
}

func ExampleCatalog_Follow() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	catalog, err := customstatus.Open(ctx, customstatus.NewMemoryStore(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer catalog.Close()
	lunch, err := catalog.Create(ctx, customstatus.Fields{Name: "Lunch", StatusType: customstatus.Away})
	if err != nil {
		log.Fatal(err)
	}

	// Names of statuses by id, kept up to date.
	names := make(map[string]string)
	for update, err := range catalog.Follow(ctx, customstatus.Position{}) {
		if err != nil {
			break // the program ends
		}
		if update.Reset {
			clear(names)
		}
		for _, s := range update.Statuses {
			names[s.ID] = s.Name
		}
		for _, change := range update.Changes {
			delete(names, change.ID())
			if change.Kind != customstatus.Deleted {
				names[change.ID()] = change.After.Name
			}
		}
		fmt.Println(names[lunch.ID])
		if update.Reset {
			_, _ = catalog.Update(ctx, lunch.ID, customstatus.Fields{Name: "Lunch break", StatusType: customstatus.Away}, nil)
		} else {
			stop()
		}
	}
	// Output:
	// Lunch
	// Lunch break
}

func ExampleCatalog_Update_ifRevision() {
	ctx := context.Background()
	catalog, err := customstatus.Open(ctx, customstatus.NewMemoryStore(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer catalog.Close()
	status, err := catalog.Create(ctx, customstatus.Fields{Name: "Lunch", StatusType: customstatus.Away})
	if err != nil {
		log.Fatal(err)
	}

	// Two admins have the status open. The first to save wins, the second is
	// told.
	open := &customstatus.WriteOptions{IfRevision: status.Revision}
	_, err = catalog.Update(ctx, status.ID, customstatus.Fields{Name: "Lunch break", StatusType: customstatus.Away}, open)
	fmt.Println(err)
	_, err = catalog.Update(ctx, status.ID, customstatus.Fields{Name: "Lunchtime", StatusType: customstatus.Away}, open)
	fmt.Println(errors.Is(err, customstatus.ErrConflict))
	// Output:
	// <nil>
	// true
}
