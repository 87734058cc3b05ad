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

	store, err := customstatus.OpenBolt(filepath.Join(dir, "customstatus.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	catalog, err := customstatus.Open(ctx, store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer catalog.Close() // closes the store, too

	meeting, err := catalog.Create(ctx, customstatus.Fields{Name: "In a meeting", StatusType: customstatus.Busy})
	if err != nil {
		log.Fatal(err)
	}
	_, err = catalog.Create(ctx, customstatus.Fields{Name: "In a meeting", StatusType: customstatus.Away})
	fmt.Println(err, errors.Is(err, customstatus.ErrNameInUse))

	got, err := catalog.Get(meeting.ID)
	fmt.Println(got.Name, got.StatusType, err)
	// Output:
	// The custom user status name is already in use [Custom_User_Status_Error_Name_Already_In_Use] true
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
	if err := catalog.Delete(ctx, lunch.ID, nil); err != nil {
		log.Fatal(err)
	}
	for commit, err := range catalog.Watch(ctx, page.Revision) {
		if err != nil {
			break // ErrCompacted: list again
		}
		for _, change := range commit.Changes {
			switch {
			case change.Deleted:
				fmt.Println(commit.Revision, "deleted", change.Status.Name)
			case change.Created():
				fmt.Println(commit.Revision, "created", change.Status.Name)
			default:
				fmt.Println(commit.Revision, "updated", change.Status.Name)
			}
		}
		if commit.Revision == catalog.Revision() {
			stop()
		}
	}
	// Output:
	// 1 created Lunch
	// 2 deleted Lunch
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
