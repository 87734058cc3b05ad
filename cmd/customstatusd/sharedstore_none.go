//go:build nocluster

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/customstatus/customstatus"
)

// openStore refuses every shared store: this program was built without them.
func openStore(_ context.Context, a address, _ bool, _ *slog.Logger) (customstatus.SharedStore, error) {
	return nil, fmt.Errorf("this program was built with the tag nocluster, so it has no %s stores", a.kind)
}

// schemaSQL fails: this program was built without PostgreSQL.
func schemaSQL(_, _ string) (string, error) {
	return "", errors.New("this program was built with the tag nocluster, so it has no postgres stores")
}
