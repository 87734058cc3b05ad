//go:build !linux

package bolt

import (
	"errors"
	"os"
)

// unnamed is not for this system.
func unnamed(string, os.FileMode) (*os.File, error) { return nil, errors.ErrUnsupported }

func giveName(*os.File, string) error { return errors.ErrUnsupported }
