package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/backoff"
)

var errSilent = errors.New("the event stream is silent")

// Watch yields every commit after a position, in order and none missing, and then
// waits for more. It connects again whenever the stream breaks, for as long as it takes.
// List a page and watch from its position. The status before an update is not known:
// [customstatus.Change.Before] is set only for deletions.
//
// The sequence ends with one error: [customstatus.ErrCompacted] where the server can't
// resume at the position, [errors.ErrUnsupported] if the server has no event stream,
// that of ctx, or a refusal that doesn't pass by itself.
func (c *Client) Watch(ctx context.Context, after customstatus.Position) iter.Seq2[customstatus.Commit, error] {
	return func(yield func(customstatus.Commit, error) bool) {
		s := stream{c: c, after: after, waits: c.waits(), yield: yield}
		for {
			err := s.run(ctx)
			if s.stopped {
				return
			}
			if ctx.Err() != nil {
				err = ctx.Err()
			} else if !errors.Is(err, customstatus.ErrCompacted) && passes(err) {
				if err = s.waits.next(ctx, err, max(s.retry, waitAskedBy(err))); err == nil {
					continue
				}
			}
			yield(customstatus.Commit{}, err)
			return
		}
	}
}

// stream is what Watch knows from connection to connection.
type stream struct {
	c       *Client
	after   customstatus.Position
	retry   time.Duration
	waits   *waits
	yield   func(customstatus.Commit, error) bool
	stopped bool // by yield

	watchdog *time.Timer // cuts a silent connection
}

func (s *stream) alive() {
	if s.c.opts.StreamSilence > 0 {
		s.watchdog.Reset(s.c.opts.StreamSilence)
	}
}

// run yields the commits of one connection. It always returns an error.
func (s *stream) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.watchdog = time.AfterFunc(1<<62, func() { cancel(errSilent) })
	defer s.watchdog.Stop()
	s.alive()
	call := &call{op: "stream", method: http.MethodGet, header: http.Header{
		"Accept":          {"text/event-stream"},
		"Accept-Encoding": {"identity"}, // compression could hold events back
		"Last-Event-Id":   {s.after.String()},
	}}
	res, err := s.c.open(ctx, s.c.streams, call)
	if err == nil {
		defer res.Body.Close()
		if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind != "text/event-stream" {
			err = call.unexpected(res, "it is no event stream: "+res.Header.Get("Content-Type"))
		} else {
			err = s.read(res.Body, call)
		}
	}
	if context.Cause(ctx) == errSilent {
		return call.failed(errSilent)
	}
	return err
}

// read yields the commits of a body. An event belongs to the commit that ends with the
// next id. What has no id before the end of the body comes again.
func (s *stream) read(body io.Reader, call *call) error {
	p := newParser(body)
	var changes []customstatus.Change
	size := int64(0)
	for {
		e, err := p.next()
		s.retry = p.retry
		if err != nil {
			return call.failed(err)
		}
		s.alive()
		change, ok, err := changeOf(e)
		size += int64(len(e.data))
		switch {
		case err != nil:
			return call.failed(fmt.Errorf("%w: %w", ErrUnexpectedAnswer, err))
		case size > s.c.opts.MaxAnswerBytes:
			return call.failed(fmt.Errorf("%w: a commit is too large", ErrUnexpectedAnswer))
		case ok:
			changes = append(changes, change)
		case e.name == "reset":
			return customstatus.ErrCompacted
		}
		if e.id == "" {
			continue
		}
		at, err := customstatus.ParsePosition(e.id)
		if err != nil {
			return call.failed(fmt.Errorf("%w: %w", ErrUnexpectedAnswer, err))
		}
		if !ok && len(changes) > 0 {
			continue // in the midst of a commit
		}
		s.after = at
		s.waits.delay.Reset()
		if len(changes) > 0 {
			commit := customstatus.Commit{Revision: at.Revision, Changes: changes, Fingerprint: at.Fingerprint, FingerprintKnown: true}
			changes = nil
			s.watchdog.Stop() // the loop's body may take its time
			if !s.yield(commit, nil) {
				s.stopped = true
				return context.Canceled
			}
			s.alive()
		}
		size = 0
	}
}

// changeOf returns the change that an event tells, or false for any other event.
func changeOf(e event) (change customstatus.Change, ok bool, err error) {
	switch e.name {
	case "created":
		change.Kind = customstatus.Created
	case "updated":
		change.Kind = customstatus.Updated
	case "deleted":
		change.Kind = customstatus.Deleted
	default:
		return change, false, nil
	}
	s, err := parseStatus([]byte(e.data))
	if change.Kind == customstatus.Deleted {
		change.Before = s
	} else {
		change.After = s
	}
	return change, err == nil, err
}

// Follow keeps a copy of the catalog up to date, as [customstatus.Catalog.Follow]
// does. It yields the whole catalog first if the position is the zero value, and
// again after a reset; else the changes of every commit, as Watch does. It survives
// failures as Watch does. To apply a change twice does no harm, and this can be
// needed: a catalog that doesn't fit into one answer and changes while it is listed can
// already have some of the changes that follow. Before it lists after a reset, Follow
// waits as it does after a failure.
//
// From a server without an event stream, Follow gets the list at
// [Options.PollInterval] and yields the differences, with a zero Position. A change there
// takes a name only after another one has given it up, unless statuses have exchanged
// their names.
//
// The sequence ends with one error: that of ctx, or a refusal that doesn't pass by itself.
func (c *Client) Follow(ctx context.Context, after customstatus.Position) iter.Seq2[customstatus.Update, error] {
	return func(yield func(customstatus.Update, error) bool) {
		var polled []customstatus.CustomUserStatus // what the caller has, if polling
		var err error
		resets := c.waits() // so that a server that can never resume is not asked without a pause
		for err == nil {
			page := Page{Position: after, PositionKnown: after != customstatus.Position{}}
			if !page.PositionKnown {
				if page, err = c.whole(ctx); err != nil {
					break
				}
				update := customstatus.Update{Position: page.Position}
				if polled == nil {
					update.Reset, update.Statuses = true, page.Statuses
				} else {
					update.Changes = difference(polled, page.Statuses)
				}
				if (update.Reset || len(update.Changes) > 0) && !yield(update, nil) {
					return
				}
				polled = append(make([]customstatus.CustomUserStatus, 0, len(page.Statuses)), page.Statuses...)
			}
			after = customstatus.Position{}
			err = errors.ErrUnsupported
			if page.PositionKnown {
				var commit customstatus.Commit
				for commit, err = range c.Watch(ctx, page.Position) {
					if err != nil {
						break
					}
					polled = nil
					resets.delay.Reset()
					if !yield(customstatus.Update{Changes: commit.Changes, Position: commit.Position()}, nil) {
						return
					}
				}
			}
			switch {
			case errors.Is(err, customstatus.ErrCompacted):
				polled, err = nil, resets.next(ctx, err, 0)
			case !errors.Is(err, errors.ErrUnsupported) || c.opts.PollInterval < 0:
			case polled == nil: // it has yet to be listed
				err = nil
			default:
				err = backoff.Sleep(ctx, c.opts.PollInterval)
			}
		}
		yield(customstatus.Update{}, err)
	}
}

// whole lists the catalog, however long that takes.
func (c *Client) whole(ctx context.Context) (Page, error) {
	waits := c.waits()
	for {
		page, err := c.gather(ctx, Query{})
		switch {
		case err == nil:
			slices.SortFunc(page.Statuses, new(Query).compare)
			return page, nil
		case ctx.Err() != nil:
			return Page{}, ctx.Err()
		case !passes(err):
			return Page{}, err
		}
		if err := waits.next(ctx, err, waitAskedBy(err)); err != nil {
			return Page{}, err
		}
	}
}

// difference returns the changes that make the statuses after of those before: first
// what was deleted, and each update behind the one that gives its name up.
func difference(before, after []customstatus.CustomUserStatus) (changes []customstatus.Change) {
	known := make(map[string]customstatus.CustomUserStatus, len(before))
	for _, s := range before {
		known[s.ID] = s
	}
	var created, updated []customstatus.Change
	holders := make(map[string]int) // the update of the status that has a name, by that name
	for _, s := range after {
		old, ok := known[s.ID]
		delete(known, s.ID)
		switch {
		case !ok:
			created = append(created, customstatus.Change{Kind: customstatus.Created, After: s})
		case old != s:
			holders[old.Name] = len(updated)
			updated = append(updated, customstatus.Change{Kind: customstatus.Updated, Before: old, After: s})
		}
	}
	for _, s := range known {
		changes = append(changes, customstatus.Change{Kind: customstatus.Deleted, Before: s})
	}
	slices.SortFunc(changes, func(a, b customstatus.Change) int { return strings.Compare(a.ID(), b.ID()) })
	placed := make([]bool, len(updated))
	var place func(i int)
	place = func(i int) {
		if placed[i] {
			return
		}
		placed[i] = true // ends a ring of names, too
		if holder, held := holders[updated[i].After.Name]; held {
			place(holder)
		}
		changes = append(changes, updated[i])
	}
	for i := range updated {
		place(i)
	}
	return append(changes, created...)
}
