//go:build !linux

package bolt

import (
	"errors"
	"os"
)

// unnamed fails: this system has no files without a name.
func unnamed(string, os.FileMode) (*os.File, error) { return nil, errors.ErrUnsupported }

func giveName(*os.File, string) error { return errors.ErrUnsupported }
