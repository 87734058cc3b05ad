//go:build !windows

package lib

const Separator = '/'
