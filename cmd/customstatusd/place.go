package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// place is where a file is, whichever links lead there. Two processes that name one
// file by different links find the same files beside it.
type place struct {
	given string // the path on the command line
	path  string // absolute, with all links followed

	// database is the path of the database that a tokens file is for.
	database string
}

// maxLinks bounds how many links a path may lead through.
const maxLinks = 40

// findPlace follows the links of a path. The file itself need not exist; its
// directory must. In a directory where every user can make links, a link must belong to
// this user, to root or to the owner of the directory.
func findPlace(given string) (place, error) {
	path, err := filepath.Abs(given)
	if err != nil {
		return place{}, err
	}
	found, rest := splitRoot(path)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			found = filepath.Dir(found)
			continue
		}
		path := filepath.Join(found, name)
		info, err := os.Lstat(path)
		if err != nil && len(rest) > 0 {
			return place{}, err
		}
		if err != nil || info.Mode().Type() != fs.ModeSymlink {
			found = path
			continue
		}
		if links++; links > maxLinks {
			return place{}, fmt.Errorf("%s: too many links", given)
		}
		target, err := trustedLink(path, info)
		if err != nil {
			return place{}, err
		}
		var next []string
		if filepath.IsAbs(target) {
			found, next = splitRoot(target)
		} else {
			next = splitNames(target)
		}
		rest = append(next, rest...)
	}
	return place{given: given, path: found}, nil
}

// trustedLink returns where a link leads, if the link is trusted.
func trustedLink(path string, info os.FileInfo) (string, error) {
	if uid, _, ok := ownerOf(info); ok {
		if err := trustedUser(path, "", uid); err != nil {
			return "", fmt.Errorf("the link %w", err)
		}
	}
	return os.Readlink(path)
}

// splitRoot splits an absolute path into its root and the names behind it.
func splitRoot(path string) (root string, names []string) {
	volume := filepath.VolumeName(path)
	return volume + string(filepath.Separator), splitNames(path[len(volume):])
}

// splitNames returns the names in a path.
func splitNames(path string) []string {
	return slices.DeleteFunc(strings.Split(filepath.ToSlash(path), "/"), func(name string) bool { return name == "" || name == "." })
}

// dangling returns an error if the place is that of a link to a file that does not
// exist.
func (pl place) dangling() error {
	if _, err := os.Lstat(pl.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if info, err := os.Lstat(pl.given); err == nil && info.Mode().Type() == fs.ModeSymlink {
		return fmt.Errorf("%s is a link to %s, which does not exist", pl.given, pl.path)
	}
	return nil
}

// tokensPlace returns the place of the tokens file: that of the given path, or else
// beside the database. A shared store has no default: a file in the current directory
// would be another one on each server.
func tokensPlace(given string, store address) (place, error) {
	if store.shared() {
		if given == "" {
			return place{}, usagef("a shared store needs --tokens FILE, with the same tokens for every server")
		}
		return findPlace(given)
	}
	db, err := findPlace(store.path)
	if err != nil {
		return place{}, err
	}
	at, err := findPlace(tokensPath(given, db.path))
	if err != nil {
		return place{}, err
	}
	at.database = db.path
	return at, at.alone()
}

// alone returns an error if a tokens file or its lock would be another file of the
// server's.
func (pl place) alone() error {
	for _, own := range []string{pl.path, pl.path + lockEnding} {
		for _, other := range []struct{ path, what string }{
			{pl.database, "the database"},
			{sessionsPath(pl.database), "the file of the sessions"},
			{controlPath(pl.database), "the control socket"},
		} {
			if own == other.path {
				return fmt.Errorf("the tokens file can't be %s: %s is %s", pl.given, own, other.what)
			}
		}
	}
	return nil
}

// lockEnding is the end of the name of a tokens file's lock.
const lockEnding = ".lock"

// tokensPath returns the path of the tokens file: the given one, or else that beside
// the database.
func tokensPath(given, database string) string {
	if given != "" {
		return given
	}
	return strings.TrimSuffix(database, ".db") + ".tokens"
}
