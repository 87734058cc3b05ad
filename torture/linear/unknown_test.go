package linear

import (
	"math"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/customstatus/customstatus"
)

// After a write with an unknown outcome, the model knows neither the revision nor the id
// of a status until somebody reads it. A client that has read it without a Sync knows
// both, so its writes tell. What they can't tell is still wrong.
func TestWritesTellWhatIsUnknown(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	old := customstatus.CustomUserStatus{ID: "old", Name: "a", StatusType: customstatus.Busy, UpdatedAt: at, Revision: 1}
	start := customstatus.Page{Statuses: []customstatus.CustomUserStatus{old}, Total: 1, Position: customstatus.Position{Revision: 1}}
	status := func(id string, revision customstatus.Revision) customstatus.CustomUserStatus {
		return customstatus.CustomUserStatus{ID: id, Name: "b", StatusType: customstatus.Away, UpdatedAt: at, Revision: revision}
	}
	unknown := func(op operation) porcupine.Operation {
		return porcupine.Operation{ClientId: 1, Input: op, Call: 1, Return: math.MaxInt64, Output: result{unknown: true}}
	}
	then := func(op operation, out result) porcupine.Operation {
		return porcupine.Operation{ClientId: 2, Input: op, Call: 5, Return: 6, Output: out}
	}
	updated := unknown(operation{kind: update, id: "old", name: "b", statusType: customstatus.Away})
	created := unknown(operation{kind: create, name: "b", statusType: customstatus.Away})
	change := func(id string, revision customstatus.Revision) operation {
		return operation{kind: update, id: id, name: "b", statusType: customstatus.Away, ifRevision: revision}
	}
	for name, tt := range map[string]struct {
		ops  []porcupine.Operation
		want bool
	}{
		"an unread revision":            {[]porcupine.Operation{updated, then(change("old", 2), result{status: status("old", 3)})}, true},
		"another than the unread one":   {[]porcupine.Operation{updated, then(change("old", 2), result{refused: customstatus.ErrConflict})}, true},
		"a revision that nobody wrote":  {[]porcupine.Operation{then(change("old", 2), result{status: status("old", 3)})}, false},
		"an unread id":                  {[]porcupine.Operation{created, then(change("new", 2), result{status: status("new", 3)})}, true},
		"another than the unread id":    {[]porcupine.Operation{created, then(change("new", 2), result{refused: customstatus.ErrNotFound})}, true},
		"an id that nobody made":        {[]porcupine.Operation{then(change("new", 2), result{status: status("new", 3)})}, false},
		"the status of another id":      {[]porcupine.Operation{created, then(change("new", 2), result{status: status("other", 3)})}, false},
		"an unread status that is gone": {[]porcupine.Operation{created, then(operation{kind: remove, id: "new"}, result{revision: 3})}, true},
		"a status that was never there": {[]porcupine.Operation{then(operation{kind: remove, id: "new"}, result{revision: 3})}, false},
		"a status that was deleted twice": {[]porcupine.Operation{created,
			then(operation{kind: remove, id: "old"}, result{revision: 2}),
			{ClientId: 3, Input: operation{kind: remove, id: "old"}, Call: 7, Return: 8, Output: result{revision: 3}}}, false},
		"an update that brings back a deleted one": {[]porcupine.Operation{created,
			then(operation{kind: remove, id: "old"}, result{revision: 2}),
			{ClientId: 3, Input: change("old", 0), Call: 7, Return: 8, Output: result{status: status("old", 3)}}}, false},
		"a lost update": {[]porcupine.Operation{updated,
			then(operation{kind: create, name: "b", statusType: customstatus.Away}, result{refused: customstatus.ErrNameInUse}),
			{ClientId: 3, Input: change("old", 1), Call: 7, Return: 8, Output: result{status: status("old", 3)}}}, false},
		"two writes at the same version": {[]porcupine.Operation{updated, then(change("old", 2), result{status: status("old", 3)}), {ClientId: 3, Input: change("old", 2), Call: 7, Return: 8, Output: result{status: status("old", 4)}}}, false},
	} {
		h := &History{Ops: tt.ops}
		if why := h.Check(start); (why == "") != tt.want {
			t.Errorf("%s: possible is %v, want %v: %s", name, why == "", tt.want, why)
		}
	}
}

// A write that was under way while the store went back twice may have been made and lost
// between, though the caller was told that it left nothing.
func TestWriteThatOutlastsTwoFailovers(t *testing.T) {
	lost := porcupine.Operation{ClientId: 1, Call: 1, Return: 30, Input: operation{kind: create, name: "c", statusType: customstatus.Busy}, Output: result{unknown: true}}
	met := porcupine.Operation{ClientId: 2, Call: 15, Return: 16, Input: operation{kind: create, name: "c", statusType: customstatus.Busy}, Output: result{refused: customstatus.ErrNameInUse}}
	for _, tt := range []struct {
		ends int64 // of the write that left nothing
		want bool
	}{{30, true}, {12, false}} {
		lost.Return = tt.ends
		h := &History{Ops: []porcupine.Operation{met}, left: []porcupine.Operation{lost}}
		if why := h.Between(10, 20, 0, math.MaxUint64).Check(customstatus.Page{}); (why == "") != tt.want {
			t.Errorf("a write that ends at %d: possible is %v, want %v: %s", tt.ends, why == "", tt.want, why)
		}
	}
}
