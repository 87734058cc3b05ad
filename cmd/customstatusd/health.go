package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/customstatus/customstatus"
)

const healthPath = "/healthz"

// livePath answers 200 as long as the process answers at all.
const livePath = healthPath + "/live"

const (
	// probeEvery is the least time between two probes of health checks.
	probeEvery = 5 * time.Second
	// probeRarely is the greatest such time. The time grows while commits fail
	// although the probes succeed.
	probeRarely = 5 * time.Minute
	// longCommit is how long a commit lasts when the disk hangs. Even one of 200,000
	// statuses takes a few seconds.
	longCommit = 30 * time.Second
	// checkPatience is how long whoever asks waits for a check.
	checkPatience = 3 * time.Second
	// probeBytes is how much a probe writes. probeGrowth is how much longer its file
	// is than the database, which is more than a commit of one status needs.
	probeBytes  = 64 << 10
	probeGrowth = 512 << 10
	// unwantedBody bounds the wait for the body of a health check.
	unwantedBody = time.Second
)

// health finds out whether writes to the catalog can succeed, without a write.
type health struct {
	db       *localDatabase
	tokens   func() error
	now      func() time.Time
	patience time.Duration

	turn chan struct{} // of the check that runs, which guards the rest

	next   time.Time     // when the next probe may be made
	every  time.Duration // the time between two probes
	failed uint64        // the commits that had failed, and all loads, at the last probe
	err    error         // of the last probe
	probed bool          // whether there was a probe since commits began to fail

	refused uint64    // the commits that had failed at the last refusal of a shared store
	until   time.Time // how long that counts
}

// newHealth returns the health check of a database. The function tokens returns why
// the tokens file can't be read, or nil.
func newHealth(db *localDatabase, tokens func() error) *health {
	return &health{db: db, tokens: tokens, now: time.Now, every: probeEvery, patience: checkPatience, turn: make(chan struct{}, 1)}
}

// wrap answers the health check and passes other requests to next. (A ServeMux would
// answer unclean paths with redirects in HTML.)
func (h *health) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != healthPath && r.URL.Path != livePath {
			next.ServeHTTP(w, r)
			return
		}
		allowed, body := r.Method == http.MethodGet || r.Method == http.MethodHead, healthAnswer{Status: statusOK}
		if allowed && r.URL.Path == healthPath {
			body = h.answer()
		}
		if r.ContentLength != 0 {
			// Without a deadline, net/http waits long for a body that nobody wants,
			// which delays the end of the server. A writer that can't set a deadline
			// has no connection to wait for.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(unwantedBody))
		}
		if !allowed {
			w.Header().Set("Allow", "GET, HEAD")
			answer(w, http.StatusMethodNotAllowed, []byte(`{"success":false,"error":"Method not allowed"}`))
			return
		}
		body.write(w)
	})
}

// healthAnswer is the body of an answer.
type healthAnswer struct {
	Status string `json:"status"`
	// Since is when writes began to fail or reads to be late, in a shared store.
	Since *time.Time `json:"since,omitempty"`
	// Warning is what needs attention, but does not keep writes from succeeding. So
	// a restart would not help.
	Warning string `json:"warning,omitempty"`
}

// write answers 200 if the status is statusOK, and else 503.
func (a healthAnswer) write(w http.ResponseWriter) {
	status := http.StatusOK
	if a.Status != statusOK {
		status = http.StatusServiceUnavailable
	}
	text, _ := json.Marshal(a) // strings and a time can't fail
	answer(w, status, text)
}

const statusOK = "ok"

const tokensUnreadable = "the tokens file can't be read"

// The results of problem.
const (
	restartNeeded = "restart needed"
	writesFail    = "writes fail"
	readsLate     = "reads are late"
)

// answer returns what a health check says. A disk may hang, and a check with it: whoever
// asks meanwhile waits no longer than the check's patience.
func (h *health) answer() healthAnswer {
	patience := time.NewTimer(h.patience)
	defer patience.Stop()
	select {
	case h.turn <- struct{}{}:
	case <-patience.C:
		return healthAnswer{Status: writesFail}
	}
	found, panicked := make(chan healthAnswer, 1), make(chan any, 1)
	go func() {
		defer func() { <-h.turn }()
		defer func() {
			if p := recover(); p != nil {
				panicked <- p
			}
		}()
		found <- h.check()
	}()
	select {
	case body := <-found:
		return body
	case p := <-panicked:
		panic(p) // as if the check ran here
	case <-patience.C:
		return healthAnswer{Status: writesFail}
	}
}

func (h *health) check() healthAnswer {
	body := healthAnswer{Status: statusOK}
	var warnings []string
	if problem := h.problem(); problem != "" {
		body.Status = problem
	}
	if stats := h.db.catalog.Stats(); h.db.shared != nil {
		since := stats.CommitErrorSince
		switch {
		case stats.FeedError == nil:
		case body.Status == statusOK:
			body.Status, since = readsLate, stats.FeedErrorSince
		default:
			warnings = append(warnings, readsLate)
		}
		if body.Status != statusOK && !since.IsZero() {
			since = since.UTC().Truncate(time.Second)
			body.Since = &since
		}
	}
	if h.tokens() != nil {
		warnings = append(warnings, tokensUnreadable)
	}
	body.Warning = strings.Join(warnings, "; ")
	return body
}

// problem returns why writes would fail now, or "".
func (h *health) problem() string {
	// Not the request's: that a client goes says nothing about the store.
	ctx, now := context.Background(), h.now()
	err := h.storeError(ctx)
	if mustReopen(err) && !now.Before(h.next) {
		// A write would make the catalog reopen the file. So does this, where
		// nobody writes.
		h.next = now.Add(h.every)
		_ = h.db.catalog.Sync(ctx) // the store knows the result
		err = h.storeError(ctx)
	}
	switch {
	case err == nil:
		return h.commitProblem(ctx, now)
	case mustReopen(err):
		return restartNeeded
	}
	return writesFail
}

// storeError returns the error that a commit would meet before it begins. A reopened
// store that can't be read has a revision all the same; only the catalog knows its
// error.
func (h *health) storeError(ctx context.Context) error {
	err := h.db.state(ctx)
	if failed := h.db.catalog.Stats().CommitError; err == nil && mustReopen(failed) {
		err = failed
	}
	return err
}

func mustReopen(err error) bool {
	return errors.Is(err, customstatus.ErrNeedsReopen) || errors.Is(err, customstatus.ErrClosed)
}

// commitProblem returns writesFail if commits have failed and would still fail. The
// reason, such as a full disk, may have gone while nobody wrote. A probe finds out.
func (h *health) commitProblem(ctx context.Context, now time.Time) string {
	stats := h.db.catalog.Stats()
	if begun := stats.CommittingSince; !begun.IsZero() && now.Sub(begun) > longCommit {
		return writesFail
	}
	if stats.CommitError == nil {
		h.every, h.probed = probeEvery, false
		return ""
	}
	// A commit that can't begin because a load fails is not counted as one. Loads are
	// rare, so the good ones may count here too.
	failed := stats.FailedCommits + stats.Loads
	current := h.probed && h.failed == failed // no commit has failed since the probe
	if h.db.shared != nil && isRefusal(stats.CommitError) {
		// No probe can find out whether the store would still refuse. After a long
		// time the next write tries, or nobody would ever send one here again.
		if stats.FailedCommits != h.refused {
			h.refused, h.until = stats.FailedCommits, now.Add(probeRarely)
		}
		if now.Before(h.until) {
			return writesFail
		}
		return ""
	}
	if !now.Before(h.next) {
		if h.probed && h.err == nil && !current {
			h.every = min(2*h.every, probeRarely) // the last probe was wrong
		}
		h.probed, h.failed, h.err = true, failed, h.probe(ctx)
		h.next, current = now.Add(h.every), true
	}
	if current && h.err == nil {
		return ""
	}
	return writesFail
}

// probe returns an error if a commit would fail, as far as that can be found out without
// one. A shared store is asked where it is, which reaches those that decide about commits.
func (h *health) probe(ctx context.Context) error {
	if h.db.shared == nil {
		return probeRoom(h.db.path)
	}
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	_, err := h.db.shared.Revision(ctx)
	return err
}

// probePatience bounds the wait for a shared store.
const probePatience = 2 * time.Second

// probeRoom returns an error if the file at path could not grow: because the disk or
// a quota is full, or because the size of files is limited. It makes another file in
// the same directory, a little longer, writes only its end, and syncs it.
func probeRoom(path string) (err error) {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := createScratch(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.discard()) }()
	content := make([]byte, probeBytes)
	_, _ = rand.Read(content) // never fails; some file systems store nothing for zeros
	if _, err := f.WriteAt(content, info.Size()+probeGrowth-probeBytes); err != nil {
		return err
	}
	return f.Sync()
}
