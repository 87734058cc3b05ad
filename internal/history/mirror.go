package history

import (
	"errors"
	"iter"

	"github.com/customstatus/customstatus/internal/sentinel"
)

// Mirror keeps a copy of a log's contents up to date with updates U. It yields one
// for the whole contents if the position after is the zero value, and again wherever
// watch ends with [sentinel.ErrCompacted]; and one for every entry that watch yields
// after the position. It ends with the error of whole or any other one of watch.
//
// The functions whole and step return an update and the position after it.
func Mirror[P comparable, T, U any](after P, whole func() (U, P, error), watch func(P) iter.Seq2[T, error], step func(T) (U, P)) iter.Seq2[U, error] {
	return func(yield func(U, error) bool) {
		var none U
		var start P
		for after := after; ; {
			if after == start {
				update, now, err := whole()
				if err != nil {
					yield(none, err)
					return
				}
				if !yield(update, nil) {
					return
				}
				after = now
			}
			for entry, err := range watch(after) {
				if errors.Is(err, sentinel.ErrCompacted) {
					after = start
					break
				}
				if err != nil {
					yield(none, err)
					return
				}
				var update U
				update, after = step(entry)
				if !yield(update, nil) {
					return
				}
			}
		}
	}
}
