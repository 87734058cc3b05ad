//go:build !linux

package customstatus

import "os"

func atPath(path string, info os.FileInfo) (size int64, same bool, err error) {
	return statPath(path, info)
}
