package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/customstatus/customstatus"
)

// importResult is what came of an import.
type importResult struct {
	// Read is the number of statuses in the source, Added of those that were
	// not in the catalog already and are now, Commits of the commits that
	// added them.
	Read    int `json:"read"`
	Added   int `json:"added"`
	Commits int `json:"commits"`
	// Bad are the lines because of which nothing was imported, or no more.
	Bad badLines `json:"bad"`
}

// importParts says how far an import has come that one commit can't hold.
type importParts struct {
	Most    int `json:"most"`    // the greatest number of commits that it takes
	Commits int `json:"commits"` // made so far
	Added   int `json:"added"`   // by them
}

func (db *localDatabase) importFrom(ctx context.Context, r io.Reader, said func(importParts)) (importResult, error) {
	src, err := readSource(r, db.catalog.Rules())
	if err != nil {
		return importResult{}, err
	}
	result := importResult{Read: len(src.statuses)}
	if len(src.bad.Lines) > 0 {
		result.Bad = src.bad
		return result, nil
	}
	for i := range src.statuses {
		complete(db.catalog, &src.statuses[i])
	}
	parts, err := importAll(ctx, db.catalog, src.statuses, said)
	result.Added, result.Commits = parts.Added, parts.Commits
	if refused := (*customstatus.ImportError)(nil); errors.As(err, &refused) {
		for _, refusal := range refused.Refused {
			src.bad.add(src.where(src.numbers[refusal.Index]), refusal.Err)
		}
		result.Bad = src.bad
		return result, nil
	}
	return result, err
}

// complete gives a status without an id or a time those of the status in the
// catalog that is just as given otherwise. Without that, a line that has neither
// would be in the way of itself when an import is repeated.
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

// importAll imports statuses in one commit or, only if that can't hold them, in
// parts. The catalog checks all of them before its store refuses what is too
// large, so what can be known to be wrong with any is known before the first
// part. What is returned is true with an error, too.
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

// behind returns the error of a part as that of the whole, of which so many
// statuses come before the part.
func behind(refused *customstatus.ImportError, before int) error {
	all := slices.Clone(refused.Refused)
	for i := range all {
		all[i].Index += before
	}
	return &customstatus.ImportError{Refused: all}
}

// commits counts commits in words.
func commits(n int) string {
	if n == 1 {
		return "1 commit"
	}
	return fmt.Sprintf("%d commits", n)
}

// importFailed says what is in the catalog after an import that ended with err.
func importFailed(result importResult, err error) error {
	unknown := errors.Is(err, customstatus.ErrOutcomeUnknown)
	switch {
	case result.Commits == 0 && unknown:
		return fmt.Errorf("it is not known whether anything was imported, see what an export gives: %w", err)
	case result.Commits == 0:
		return fmt.Errorf("nothing was imported: %w", err)
	case unknown:
		return fmt.Errorf("imported %d in %s, and it is not known whether more; to import the rest, run it again: %w",
			result.Added, commits(result.Commits), err)
	}
	return fmt.Errorf("imported %d in %s, not the rest; to import that, run it again: %w",
		result.Added, commits(result.Commits), err)
}
