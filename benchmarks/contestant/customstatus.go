package contestant

import (
	"context"
	"path/filepath"

	"github.com/customstatus/customstatus"
)

// catalog is this library.
type catalog struct {
	*customstatus.Catalog
}

func openCustomStatusBolt(dir string) (Contestant, error) {
	store, err := customstatus.OpenBolt(filepath.Join(dir, "status.db"), nil)
	if err != nil {
		return nil, err
	}
	return openCatalog(store)
}

func openCustomStatusMemory(string) (Contestant, error) {
	return openCatalog(customstatus.NewMemoryStore())
}

func openCatalog(store customstatus.Store) (Contestant, error) {
	c, err := customstatus.Open(context.Background(), store, nil)
	if err != nil {
		store.Close()
		return nil, err
	}
	return catalog{c}, nil
}

func (c catalog) GetByID(id string) (customstatus.CustomUserStatus, error) {
	return c.Catalog.Get(id)
}

func (c catalog) Create(f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	return c.Catalog.Create(context.Background(), f)
}

func (c catalog) Update(id string, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	return c.Catalog.Update(context.Background(), id, f, nil)
}

func (c catalog) List(offset, limit int) ([]customstatus.CustomUserStatus, int, error) {
	page, err := c.Catalog.List(customstatus.Query{Offset: offset, Limit: limit})
	return page.Statuses, page.Total, err
}

func (c catalog) Import(statuses []customstatus.CustomUserStatus) error {
	_, err := c.Catalog.Import(context.Background(), statuses)
	return err
}

// Catalog returns the catalog behind a contestant of this library, which the
// HTTP benchmarks serve, or nil.
func Catalog(c Contestant) *customstatus.Catalog {
	if c, ok := c.(catalog); ok {
		return c.Catalog
	}
	return nil
}
