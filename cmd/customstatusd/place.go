package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
// directory must.
func findPlace(given string) (place, error) {
	path, err := filepath.Abs(given)
	if err != nil {
		return place{}, err
	}
	for range maxLinks {
		directory, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return place{}, err
		}
		path = filepath.Join(directory, filepath.Base(path))
		target, err := os.Readlink(path)
		if err != nil { // path is not a link, or does not exist
			return place{given: given, path: path}, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(directory, target)
		}
		path = target
	}
	return place{}, fmt.Errorf("%s: too many links", given)
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
// beside the database.
func tokensPlace(given, database string) (place, error) {
	db, err := findPlace(database)
	if err != nil {
		return place{}, err
	}
	at, err := findPlace(tokensPath(given, db.path))
	at.database = db.path
	return at, err
}

// tokensPath returns the path of the tokens file: the given one, or else that beside
// the database.
func tokensPath(given, database string) string {
	if given != "" {
		return given
	}
	return strings.TrimSuffix(database, ".db") + ".tokens"
}
