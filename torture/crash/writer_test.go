//go:build linux

package crash

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/customstatus/customstatus"
)

// event is a line that a child writes to the pipe at descriptor 3. A line is
// shorter than PIPE_BUF, so a killed child has written it as a whole or not at
// all.
type event struct {
	Writer   int
	Begin    *write                `json:",omitempty"`
	Made     *record               `json:",omitempty"` // acknowledges what has begun
	Revision customstatus.Revision `json:",omitempty"`
	Ready    bool                  `json:",omitempty"` // the file is open
}

// take reads the children's events into the ledger until all children are gone.
func (l *ledger) take(pipe io.Reader, ready func()) error {
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("%w in %q", err, lines.Text())
		}
		switch {
		case e.Ready:
			ready()
		case e.Begin != nil:
			l.begin(e.Writer, *e.Begin)
		case e.Made != nil:
			l.acknowledge(e.Writer, *e.Made, e.Revision)
		default:
			l.refuse(e.Writer)
		}
	}
	return lines.Err()
}

// name draws one of the names that the writers compete for.
func name(r *rand.Rand) string { return fmt.Sprintf("status %d", r.IntN(400)) }

func statusType(r *rand.Rand) customstatus.StatusType {
	types := []customstatus.StatusType{customstatus.Online, customstatus.Away, customstatus.Busy, customstatus.Offline}
	return types[r.IntN(len(types))]
}

// write opens the file and writes to it until the process is killed.
func (c child) write() error {
	pipe := os.NewFile(3, "pipe")
	catalog, err := customstatus.OpenFile(context.Background(), c.Path, nil)
	if err != nil {
		return err
	}
	page, err := catalog.List(customstatus.Query{})
	if err != nil {
		return err
	}
	owned := make([][]string, c.Writers)
	for i, s := range page.Statuses {
		owned[i%c.Writers] = append(owned[i%c.Writers], s.ID)
	}
	if err := tell(pipe, event{Ready: true}); err != nil {
		return err
	}
	failed := make(chan error, c.Writers)
	for n := range c.Writers {
		w := &writer{
			number:  n,
			catalog: catalog,
			pipe:    pipe,
			rand:    rand.New(rand.NewPCG(c.Seed, uint64(n))),
			own:     owned[n],
		}
		go func() {
			for {
				if err := w.next(); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

func tell(pipe io.Writer, e event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if len(line) > 4096 {
		return errors.New("the line is longer than PIPE_BUF")
	}
	_, err = pipe.Write(line)
	return err
}

// writer is one of the concurrent writers in a child.
type writer struct {
	number  int
	catalog *customstatus.Catalog
	pipe    io.Writer
	rand    *rand.Rand
	own     []string // ids of the statuses that only it writes to
}

// next makes one write and reports it before and after.
func (w *writer) next() error {
	ctx := context.Background()
	fields := customstatus.Fields{Name: name(w.rand), StatusType: statusType(w.rand)}
	status := record{Name: fields.Name, StatusType: fields.StatusType}
	keeps := true
	if w.rand.IntN(2) == 0 {
		keeps = false
		status.Metadata = strings.Repeat("🌴", w.rand.IntN(20))
		fields.Metadata = &status.Metadata
	}
	own := -1
	if len(w.own) > 0 {
		own = w.rand.IntN(len(w.own))
		status.ID = w.own[own]
	}
	begin := func(op write) error { return tell(w.pipe, event{Writer: w.number, Begin: &op}) }
	var made record
	var err, broken error
	switch n := w.rand.IntN(20); {
	case n < 8 || own < 0:
		status.ID = ""
		broken = begin(write{Kind: "create", Status: status})
		var s customstatus.CustomUserStatus
		if s, err = w.catalog.Create(ctx, fields); err == nil {
			made = recordOf(s)
			w.own = append(w.own, s.ID)
		}
	case n < 14:
		broken = begin(write{Kind: "update", Status: status, Keeps: keeps})
		var s customstatus.CustomUserStatus
		if s, err = w.catalog.Update(ctx, status.ID, fields, nil); err == nil {
			made = recordOf(s)
		}
	case n < 18:
		broken = begin(write{Kind: "delete", Status: record{ID: status.ID}})
		if made.Revision, err = w.catalog.Delete(ctx, status.ID, nil); err == nil {
			w.own = slices.Delete(w.own, own, own+1)
		}
	default:
		var batch []record
		var statuses []customstatus.CustomUserStatus
		id := w.rand.Uint64()
		for i := range 2 + w.rand.IntN(8) {
			s := customstatus.CustomUserStatus{
				ID:         fmt.Sprintf("imported-%x-%d", id, i),
				Name:       fmt.Sprintf("imported %x %d", id, i),
				StatusType: statusType(w.rand),
				UpdatedAt:  time.UnixMilli(1.6e12 + w.rand.Int64N(1e9)),
				Metadata:   status.Metadata,
			}
			if len(w.own) > 20 { // then one that is likely to be refused as a whole
				s.Name = name(w.rand)
			}
			statuses, batch = append(statuses, s), append(batch, recordOf(s))
		}
		broken = begin(write{Kind: "import", Batch: batch})
		var imported customstatus.ImportResult
		if imported, err = w.catalog.Import(ctx, statuses); err == nil {
			made.Revision = imported.Revision
			for _, r := range batch {
				w.own = append(w.own, r.ID)
			}
		}
	}
	switch {
	case broken != nil:
		return broken
	case err == nil:
		return tell(w.pipe, event{Writer: w.number, Made: &made, Revision: made.Revision})
	case errors.Is(err, customstatus.ErrNameInUse):
		return tell(w.pipe, event{Writer: w.number})
	}
	return err
}
