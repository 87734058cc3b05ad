package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/customstatus/customstatus"
)

// renameMeeting makes a status, changes it, and deletes it if nobody else has changed it.
func renameMeeting(ctx context.Context, catalog *customstatus.Catalog) error {
	meeting, err := catalog.Create(ctx, customstatus.Fields{Name: "In a meeting", StatusType: customstatus.Busy})
	if errors.Is(err, customstatus.ErrNameInUse) {
		return nil // somebody was faster
	}
	if err != nil {
		return err
	}
	meeting, err = catalog.Update(ctx, meeting.ID, customstatus.Fields{Name: "Meeting", StatusType: customstatus.Busy}, nil)
	if err != nil {
		return err
	}
	_, err = catalog.Delete(ctx, meeting.ID, &customstatus.WriteOptions{IfRevision: meeting.Revision})
	return err
}

// secondPage returns some of the statuses. Reads never wait.
func secondPage(catalog *customstatus.Catalog) ([]customstatus.CustomUserStatus, error) {
	page, err := catalog.List(customstatus.Query{NameContains: "meet", Offset: 50, Limit: 50})
	return page.Statuses, err
}

// follow calls replace with all statuses, at first and after a gap, and apply with each
// change. It returns when ctx is done or the catalog is closed.
func follow(ctx context.Context, catalog *customstatus.Catalog,
	replace func([]customstatus.CustomUserStatus), apply func([]customstatus.Change)) error {
	for update, err := range catalog.Follow(ctx, customstatus.Position{}) {
		if err != nil {
			return err
		}
		if update.Reset {
			replace(update.Statuses)
		} else {
			apply(update.Changes)
		}
	}
	return nil
}

// backup writes a consistent copy of a live catalog. The copy has its name only when it
// is whole.
func backup(ctx context.Context, catalog *customstatus.Catalog, path string) error {
	file, err := os.CreateTemp(filepath.Dir(path), "backup")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails when it has its name
	if err := errors.Join(catalog.Backup(ctx, file), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
