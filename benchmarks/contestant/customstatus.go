package contestant

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/customstatus/customstatus"
)

// boltImport is the number of statuses that this library's bbolt store takes in one
// commit. Longer imports are split into parts of this size, as the library's
// documentation says. Each part is one commit.
const boltImport = 50_000

// catalog is this library.
type catalog struct {
	*customstatus.Catalog
	importPart int // the size of the parts that an import goes in; 0 is one part
}

func openCustomStatusBolt(dir string) (Contestant, error) {
	c, err := customstatus.OpenFile(context.Background(), filepath.Join(dir, "status.db"), nil)
	if err != nil {
		return nil, err
	}
	return catalog{c, boltImport}, nil
}

func openCustomStatusMemory(string) (Contestant, error) {
	store := customstatus.NewMemoryStore()
	c, err := customstatus.Open(context.Background(), store, nil)
	if err != nil {
		store.Close()
		return nil, err
	}
	return catalog{c, 0}, nil
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
	part := len(statuses)
	if c.importPart > 0 {
		part = c.importPart
	}
	for statuses := range slices.Chunk(statuses, max(part, 1)) {
		if _, err := c.Catalog.Import(context.Background(), statuses); err != nil {
			return err
		}
	}
	return nil
}

// Catalog returns the catalog of a contestant of this library, or nil for others. The
// HTTP benchmarks serve it.
func Catalog(c Contestant) *customstatus.Catalog {
	if c, ok := c.(catalog); ok {
		return c.Catalog
	}
	return nil
}
