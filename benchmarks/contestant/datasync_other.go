//go:build !linux

package contestant

import "os"

func datasync(f *os.File) error { return f.Sync() }
