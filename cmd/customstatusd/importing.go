package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/cmd/customstatusd/internal/statusfile"
)

// importResult is the result of an import.
type importResult struct {
	// Read is the number of statuses in the source. Added is the number of statuses
	// that are new in the catalog. Commits is the number of commits that added them.
	Read    int `json:"read"`
	Added   int `json:"added"`
	Commits int `json:"commits"`
	// Updated is the number of statuses of the catalog that were updated. Skipped is
	// the number of statuses that conflict with the catalog and were left out. Refused
	// is the number of those that stop the import, in a dry run.
	Updated int `json:"updated,omitempty"`
	Skipped int `json:"skipped,omitempty"`
	Refused int `json:"refused,omitempty"`
	// UpdateCommits is the number of commits that updated them, which may have other
	// writers' changes, too.
	UpdateCommits int `json:"updateCommits,omitempty"`
	// Conflicts is whether a value is in Bad because of an id or a name in use.
	Conflicts bool `json:"conflicts,omitempty"`
	// Missing is the number of statuses that the source's lists left out.
	Missing int `json:"missing,omitempty"`
	// Bad holds the values that stopped the import.
	Bad statusfile.Bad `json:"bad"`
}

// importParts is the progress of an import that makes several commits.
type importParts struct {
	Most    int `json:"most"`    // how many commits that add statuses the import makes at most
	Commits int `json:"commits"` // how many of them it has made
	Added   int `json:"added"`   // how many statuses these commits added
	Updated int `json:"updated,omitempty"`
}

func (db *localDatabase) importFrom(ctx context.Context, r io.Reader, opts importOptions, said func(importParts)) (importResult, error) {
	src, err := statusfile.Read(r, db.catalog.Rules())
	if err != nil {
		return importResult{}, err
	}
	im := &importing{catalog: db.catalog, src: src, said: said, result: importResult{Read: src.Read, Missing: src.Missing, Bad: src.Bad}}
	if src.Bad.Len() > 0 {
		return im.result, nil
	}
	for i := range src.Statuses {
		complete(db.catalog, &src.Statuses[i])
	}
	if opts.onConflict == conflictUpdates {
		err = im.run(ctx, planUpdating(db.catalog, src, opts), opts)
	} else if opts.onConflict == conflictSkips || opts.exact || opts.dryRun {
		err = im.run(ctx, planAdding(db.catalog, src, opts), opts)
	} else {
		err = im.add(ctx, src.Statuses, func(i int) int { return i })
	}
	return im.result, err
}

// importing is a running import.
type importing struct {
	catalog *customstatus.Catalog
	src     *statusfile.Source
	said    func(importParts)
	result  importResult
}

// run carries out a plan. What Catalog.Import can refuse comes first, as far as it
// needs no update.
func (im *importing) run(ctx context.Context, plan *importPlan, opts importOptions) error {
	im.result.Skipped = plan.skipped
	if opts.dryRun {
		im.result.Added, im.result.Updated, im.result.Refused = len(plan.free)+len(plan.freed), plan.updated(), len(plan.refused)
		for i := range im.src.Statuses {
			if note, found := plan.notes[i]; found && opts.found != nil {
				opts.found(conflict{im.src.Where(i), im.src.Statuses[i].Name, note.does, note.why})
			}
		}
		return nil
	}
	slices.SortFunc(plan.refused, func(a, b refusal) int { return a.index - b.index })
	for _, r := range plan.refused {
		im.refuse(r.index, r.err)
	}
	if len(plan.refused) > 0 {
		return nil
	}
	err := im.addOnly(ctx, plan.free)
	for _, part := range plan.updates {
		for chunk := range slices.Chunk(part, updatesAtOnce) {
			if err == nil && im.result.Bad.Len() == 0 {
				err = im.update(ctx, chunk, opts.exact)
			}
		}
	}
	if err == nil && im.result.Bad.Len() == 0 {
		err = im.addOnly(ctx, plan.freed)
	}
	return err
}

// refuse notes that the status of the source with an index can't be imported.
func (im *importing) refuse(index int, err error) {
	im.result.Bad.Add(im.src.Where(index), err)
	if errors.Is(err, customstatus.ErrIDInUse) || errors.Is(err, customstatus.ErrNameInUse) {
		im.result.Conflicts = true
	}
}

// updatesAtOnce is the number of updates that are made before progress is reported.
// The catalog groups them into few commits.
const updatesAtOnce = 256

// update updates statuses. It notes those that are refused, because another writer was
// faster, and returns any other error.
func (im *importing) update(ctx context.Context, part []planned, exact bool) error {
	errs := make([]error, len(part))
	revisions := make([]customstatus.Revision, len(part))
	var wg sync.WaitGroup
	for n, u := range part {
		wg.Go(func() {
			s := &im.src.Statuses[u.index]
			f := customstatus.Fields{Name: s.Name, StatusType: s.StatusType}
			if exact || s.Metadata != "" {
				f.Metadata = &s.Metadata
			}
			updated, err := im.catalog.Update(ctx, u.id, f, &customstatus.WriteOptions{KeepStatusType: !exact && s.StatusType == ""})
			revisions[n], errs[n] = updated.Revision, err
		})
	}
	wg.Wait()
	made := make(map[customstatus.Revision]bool)
	var failed error
	for n, err := range errs {
		var refused *customstatus.Error
		switch {
		case err == nil:
			im.result.Updated++
			made[revisions[n]] = true
		case errors.As(err, &refused):
			im.refuse(part[n].index, err)
		case failed == nil || errors.Is(err, customstatus.ErrOutcomeUnknown):
			failed = err
		}
	}
	im.result.UpdateCommits += len(made)
	im.said(importParts{Commits: im.result.Commits, Added: im.result.Added, Updated: im.result.Updated})
	return failed
}

// addOnly adds the statuses of the source with the given indices.
func (im *importing) addOnly(ctx context.Context, indices []int) error {
	statuses := make([]customstatus.CustomUserStatus, len(indices))
	for n, i := range indices {
		statuses[n] = im.src.Statuses[i]
	}
	return im.add(ctx, statuses, func(n int) int { return indices[n] })
}

// add adds statuses, whose indices in the source are given by index. It notes those
// that the catalog refuses, and returns any other error.
func (im *importing) add(ctx context.Context, statuses []customstatus.CustomUserStatus, index func(n int) int) error {
	before := im.result
	parts, err := importAll(ctx, im.catalog, statuses, func(parts importParts) {
		parts.Commits, parts.Added, parts.Updated = parts.Commits+before.Commits, parts.Added+before.Added, before.Updated
		im.said(parts)
	})
	im.result.Added += parts.Added
	im.result.Commits += parts.Commits
	if refused := (*customstatus.ImportError)(nil); errors.As(err, &refused) {
		for _, refusal := range refused.Refused {
			im.refuse(index(refusal.Index), refusal.Err)
		}
		return nil
	}
	return err
}

// complete fills in the id and the time that a status lacks, if the catalog has the
// same status otherwise. Without it, a repeated import would refuse a status without an
// id, because the first import has taken its name.
func complete(catalog *customstatus.Catalog, s *customstatus.CustomUserStatus) {
	if s.ID != "" && !s.UpdatedAt.IsZero() {
		return
	}
	there, err := catalog.GetByName(s.Name)
	switch {
	case err != nil,
		s.ID != "" && s.ID != there.ID,
		s.StatusType != there.StatusType,
		!s.UpdatedAt.IsZero() && !s.UpdatedAt.Equal(there.UpdatedAt),
		s.Metadata != "" && s.Metadata != there.Metadata:
		return
	}
	s.ID, s.UpdatedAt = there.ID, there.UpdatedAt
}

// importAll imports statuses in one commit or, only if they don't fit, in several.
// The catalog checks all statuses before the store refuses an import as too large. So
// a status that breaks a rule is found before the first commit. The result is valid
// with an error, too.
func importAll(ctx context.Context, catalog *customstatus.Catalog, statuses []customstatus.CustomUserStatus, said func(importParts)) (importParts, error) {
	var parts importParts
	size := len(statuses)
	for done := 0; done < len(statuses); {
		part := statuses[done:min(done+size, len(statuses))]
		result, err := catalog.Import(ctx, part)
		if tooLarge := (*customstatus.TooLargeError)(nil); errors.As(err, &tooLarge) && 0 < tooLarge.MaxChanges && tooLarge.MaxChanges < len(part) {
			size = tooLarge.MaxChanges
			parts.Most = parts.Commits + (len(statuses)-done+size-1)/size
			said(parts)
			continue
		}
		if refused := (*customstatus.ImportError)(nil); errors.As(err, &refused) {
			return parts, behind(refused, done)
		}
		if err != nil {
			return parts, err
		}
		done += len(part)
		parts.Added += result.Added
		if result.Added > 0 {
			parts.Commits++
		}
		if parts.Most > 0 {
			said(parts)
		}
	}
	return parts, nil
}

// behind returns the error of a part as an error of the whole import. The part comes
// after the given number of statuses.
func behind(refused *customstatus.ImportError, before int) error {
	all := slices.Clone(refused.Refused)
	for i := range all {
		all[i].Index += before
	}
	return &customstatus.ImportError{Refused: all}
}

// commits returns a number of commits in words.
func commits(n int) string {
	if n == 1 {
		return "1 commit"
	}
	return fmt.Sprintf("%d commits", n)
}

// importFailed adds to err what the failed import has put into the catalog.
func importFailed(result importResult, err error) error {
	unknown := errors.Is(err, customstatus.ErrOutcomeUnknown)
	done := made(result)
	switch {
	case done == "" && unknown:
		return fmt.Errorf("it is unknown whether anything was imported; compare an export: %w", err)
	case done == "":
		return fmt.Errorf("nothing was imported: %w", err)
	case unknown:
		return fmt.Errorf("%s, and it is unknown whether more; run the import again to import the rest: %w", done, err)
	}
	return fmt.Errorf("%s, but not the rest; run the import again to import the rest: %w", done, err)
}

// made says what an import has written, or "" if it has written nothing.
func made(result importResult) string {
	var parts []string
	if result.Commits > 0 {
		parts = append(parts, fmt.Sprintf("imported %d in %s", result.Added, commits(result.Commits)))
	}
	if result.Updated > 0 {
		parts = append(parts, fmt.Sprintf("updated %d", result.Updated))
	}
	return strings.Join(parts, ", ")
}
