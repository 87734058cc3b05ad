package linear

import (
	"math"

	"github.com/anishathalye/porcupine"

	"github.com/customstatus/customstatus"
)

// End adds a read of all statuses after everything else, which has shown the page.
// A write with an unknown outcome may still come after it.
func (h *History) End(page customstatus.Page) {
	last, client := int64(0), 0
	for _, o := range h.Ops {
		last, client = max(last, o.Call), max(client, o.ClientId)
		if o.Return != math.MaxInt64 {
			last = max(last, o.Return)
		}
	}
	h.Ops = append(h.Ops, porcupine.Operation{
		ClientId: client + 1, Input: operation{kind: list}, Call: last + 1, Output: result{page: page}, Return: last + 2,
	})
}

// Created returns the operation that has made a status, by a create that no history
// has. It is for [Account].
func Created(made customstatus.CustomUserStatus) porcupine.Operation {
	return porcupine.Operation{Input: operation{kind: create, name: made.Name, statusType: made.StatusType}, Output: result{status: made}}
}
