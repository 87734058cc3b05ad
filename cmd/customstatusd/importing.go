package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

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
	// Bad holds the values that stopped the import.
	Bad statusfile.Bad `json:"bad"`
}

// importParts is the progress of an import that does not fit into one commit.
type importParts struct {
	Most    int `json:"most"`    // how many commits the import makes at most
	Commits int `json:"commits"` // how many commits it has made
	Added   int `json:"added"`   // how many statuses these commits added
}

func (db *localDatabase) importFrom(ctx context.Context, r io.Reader, said func(importParts)) (importResult, error) {
	src, err := statusfile.Read(r, db.catalog.Rules())
	if err != nil {
		return importResult{}, err
	}
	result := importResult{Read: src.Read, Bad: src.Bad}
	if src.Bad.Len() > 0 {
		return result, nil
	}
	for i := range src.Statuses {
		complete(db.catalog, &src.Statuses[i])
	}
	parts, err := importAll(ctx, db.catalog, src.Statuses, said)
	result.Added, result.Commits = parts.Added, parts.Commits
	if refused := (*customstatus.ImportError)(nil); errors.As(err, &refused) {
		for _, refusal := range refused.Refused {
			result.Bad.Add(src.Where(refusal.Index), refusal.Err)
		}
		return result, nil
	}
	return result, err
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
	switch {
	case result.Commits == 0 && unknown:
		return fmt.Errorf("it is unknown whether anything was imported; compare an export: %w", err)
	case result.Commits == 0:
		return fmt.Errorf("nothing was imported: %w", err)
	case unknown:
		return fmt.Errorf("imported %d in %s, and it is unknown whether more; run the import again to import the rest: %w",
			result.Added, commits(result.Commits), err)
	}
	return fmt.Errorf("imported %d in %s, but not the rest; run the import again to import the rest: %w",
		result.Added, commits(result.Commits), err)
}
