package customstatus

import (
	"iter"
	"strconv"

	"github.com/customstatus/customstatus/internal/selection"
	"github.com/customstatus/customstatus/internal/table"
)

// Query says which statuses [Catalog.List] returns, and in which order. The zero
// value is all of them by name. A status matches if it meets all conditions set.
type Query struct {
	// ID matches the status with this id.
	ID string
	// Name matches the status with exactly this name.
	Name string
	// NameContains matches names that contain it in any case. It is never a pattern.
	NameContains string
	// Filter matches statuses for which it returns true. It must not call the
	// catalog's writes.
	Filter func(CustomUserStatus) bool
	// Sort are the keys to sort by, the most important one first. Ties are broken
	// by ID, so that pages of one revision never overlap. Nil sorts by name.
	Sort []SortKey
	// Offset is the number of matches to skip.
	Offset int
	// Limit is the greatest number of statuses to return. 0 is no limit.
	Limit int
}

// SortKey is one key of [Query.Sort].
type SortKey struct {
	Field      SortField
	Descending bool
}

// SortField names the field that a [SortKey] sorts by, as the JSON form does.
// Strings are ordered byte by byte.
type SortField string

// The fields to sort by.
const (
	SortByID         SortField = "_id"
	SortByName       SortField = "name"
	SortByStatusType SortField = "statusType"
	SortByUpdatedAt  SortField = "_updatedAt"
)

// Page is what [Catalog.List] returns. All of it is of one revision.
type Page struct {
	Statuses []CustomUserStatus
	// Total is the number of matches, those beyond Limit included.
	Total int
	// Position is the page's. [Catalog.Watch] from there yields every later change.
	Position Position
}

// List returns the statuses that the query asks for, all of one revision. It
// doesn't wait. A page by name costs the same at any offset. ID and Name look up one
// status, and NameContains searches the names. Other queries look at every status
// once or twice. The error is [ErrClosed], or [ErrInvalid] for a negative Offset
// or Limit and for an unknown SortField.
func (c *Catalog) List(q Query) (Page, error) {
	if err := q.check(); err != nil {
		return Page{}, err
	}
	s := c.view.Current()
	if s.Closed {
		return Page{}, ErrClosed
	}
	query := table.Query[CustomUserStatus]{
		ID: q.ID, Name: q.Name, NameContains: q.NameContains, Filter: q.Filter,
		Offset: q.Offset, Limit: q.Limit,
	}
	if len(q.Sort) > 0 {
		// Names are unique, so that keys after the name don't count.
		if first := q.Sort[0]; first.Field == SortByName {
			query.Descending = first.Descending
		} else {
			query.Order = orderOf(q.Sort)
		}
	}
	statuses, total := s.List(&query)
	return Page{Statuses: statuses, Total: total, Position: positionOf(s.Position)}, nil
}

// All yields all statuses, sorted by name, as they are when the loop begins. It
// doesn't wait, and needs no memory. The only error is [ErrClosed].
func (c *Catalog) All() iter.Seq2[CustomUserStatus, error] {
	return func(yield func(CustomUserStatus, error) bool) {
		s := c.view.Current()
		if s.Closed {
			yield(CustomUserStatus{}, ErrClosed)
			return
		}
		s.Scan(func(status *CustomUserStatus) bool { return yield(*status, nil) })
	}
}

// Len returns the number of statuses, or 0 when the catalog is closed.
func (c *Catalog) Len() int { return c.view.Current().Len() }

func (q Query) check() error {
	if q.Offset < 0 {
		return errInvalid(FieldOffset, strconv.Itoa(q.Offset), "it is negative")
	}
	if q.Limit < 0 {
		return errInvalid(FieldLimit, strconv.Itoa(q.Limit), "it is negative")
	}
	for _, k := range q.Sort {
		if _, ok := sortKeys[k.Field]; !ok {
			return errInvalid(FieldSort, string(k.Field), "there is no such field")
		}
	}
	return nil
}

// sortKeys are the keys that a query can sort by.
var sortKeys = map[SortField]selection.Key[CustomUserStatus]{
	SortByID:         selection.Text(func(s *CustomUserStatus) string { return s.ID }),
	SortByName:       selection.Text(func(s *CustomUserStatus) string { return s.Name }),
	SortByStatusType: selection.Text(func(s *CustomUserStatus) StatusType { return s.StatusType }),
	SortByUpdatedAt:  selection.Number(func(s *CustomUserStatus) uint64 { return selection.Milliseconds(s.UpdatedAt) }),
}

// orderOf returns the order of the keys. Ties are broken by ID.
func orderOf(keys []SortKey) *selection.Order[CustomUserStatus] {
	by := make([]selection.Key[CustomUserStatus], 0, len(keys)+1)
	for _, k := range keys {
		by = append(by, sortKeys[k.Field].Reversed(k.Descending))
	}
	order := selection.By(append(by, sortKeys[SortByID])...)
	return &order
}
