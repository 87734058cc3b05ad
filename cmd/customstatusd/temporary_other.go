//go:build !linux

package main

import (
	"errors"
	"os"
)

// createUnnamed fails: this system has no files without names.
func createUnnamed(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func giveName(*os.File, string) error { return errors.ErrUnsupported }
