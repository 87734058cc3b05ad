package salvage_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/salvage"
)

// Save what is intact of a damaged file into a new one.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	damaged := filepath.Join(dir, "chat.db")
	emoji := ":fork_and_knife:"
	catalog, err := customstatus.OpenFile(ctx, damaged, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = catalog.Create(ctx, customstatus.Fields{Name: "Lunch", StatusType: customstatus.Away, Metadata: &emoji})
	if err != nil {
		log.Fatal(err)
	}
	if err := catalog.Close(); err != nil {
		log.Fatal(err)
	}

	result, err := salvage.File(damaged, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, problem := range result.Problems {
		fmt.Println(problem)
	}
	saved, err := customstatus.OpenFile(ctx, filepath.Join(dir, "saved.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer saved.Close()
	if _, err := saved.Import(ctx, result.Statuses); err != nil {
		log.Fatal(err)
	}
	lunch, err := saved.GetByName("Lunch")
	fmt.Println(result.Complete, lunch.StatusType, lunch.Metadata, err)
	// Output:
	// true away :fork_and_knife: <nil>
}
