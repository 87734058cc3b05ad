package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/pgstore"
)

func Example() {
	run := func(ctx context.Context) error {
		store, err := pgstore.Open(ctx, "postgres://chat@db.example/chat", nil)
		if err != nil {
			return err
		}
		catalog, err := customstatus.OpenShared(ctx, store, nil)
		if err != nil {
			return errors.Join(err, store.Close())
		}
		defer catalog.Close()
		_, err = catalog.Create(ctx, customstatus.Fields{Name: "Lunch", StatusType: customstatus.Away})
		return err
	}
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// A database administrator runs these statements, if the server may not.
func ExampleGrantSQL() {
	sql, err := pgstore.GrantSQL("", "chat")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(sql)
	// Output:
	// GRANT USAGE ON SCHEMA "customstatus" TO "chat";
	// GRANT SELECT ON "customstatus".version TO "chat";
	// GRANT SELECT, INSERT, UPDATE ON "customstatus".catalogs TO "chat";
	// GRANT SELECT, INSERT, UPDATE, DELETE ON "customstatus".statuses TO "chat";
	// GRANT SELECT, INSERT, DELETE ON "customstatus".commits, "customstatus".markers TO "chat";
	// GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA "customstatus" TO "chat";
}
