//go:build unix && !linux

package pgtest

import "syscall"

// dieTogether does nothing: there is no such thing on this system.
func dieTogether(*syscall.SysProcAttr) {}
