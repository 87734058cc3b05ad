//go:build !linux

package bolt

import "os"

func atPath(path string, info os.FileInfo) (size int64, same bool, err error) {
	return statPath(path, info)
}
