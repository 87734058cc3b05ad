package linear

import (
	"math"
	"os"
	"slices"

	"github.com/anishathalye/porcupine"

	"github.com/customstatus/customstatus"
)

// Figures are the counts of a [History].
type Figures struct {
	Operations int // that porcupine checks
	Local      int // pages read without a Sync before
	Refused    int // writes
	Failed     int // writes that left nothing behind
	Unknown    int // writes with an unknown outcome
}

// Figures returns the counts.
func (h *History) Figures() Figures {
	f := Figures{Operations: len(h.Ops), Local: len(h.local), Failed: len(h.left), Unknown: h.unknown}
	for _, n := range h.refused {
		f.Refused += n
	}
	return f
}

// Between returns the history from one time to another, at which the store went back
// to what it held earlier. A write that was under way at either time may have been
// made before or after it, or be lost. A read that was under way says nothing.
//
// What has a revision up to common was made before the first time, and what has one
// beyond lost was made after. Revisions between may be of what was lost, or of what
// came in its place.
func (h *History) Between(from, to int64, common, lost customstatus.Revision) *History {
	part := &History{Err: h.Err, stays: h.stays}
	for _, o := range h.left {
		// The store may have made it, gone back, and then found nothing.
		if o.Call < to && o.Return >= to {
			o.Call, o.Return = max(o.Call, from), math.MaxInt64
			part.Ops = append(part.Ops, o)
		}
	}
	for _, o := range h.Ops {
		out := o.Output.(result)
		revision := max(out.revision, out.status.Revision, out.page.Position.Revision)
		switch {
		case o.Call >= to, o.Return < from:
			continue
		case o.Return < to && (o.Call >= from || revision > lost):
			o.Call = max(o.Call, from)
		case o.Return < to && !out.unknown && revision <= common:
			continue
		case slices.Contains([]kind{create, update, remove, bulk}, o.Input.(operation).kind):
			if out.refused != nil || out.refusals != nil {
				continue
			}
			o.Call, o.Return, o.Output = max(o.Call, from), math.MaxInt64, result{unknown: true, status: out.status, revision: out.revision}
		default:
			continue
		}
		part.Ops = append(part.Ops, o)
	}
	return part
}

// Draw writes a picture of the history, which began with what the page shows, as HTML
// to a file. The error is that of the file.
func (h *History) Draw(start customstatus.Page, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	m := model(start, h.stays)
	_, info := porcupine.CheckOperationsVerbose(m, h.Ops, 0)
	if err := porcupine.Visualize(m, info, f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
