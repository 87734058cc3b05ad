// Package random performs random operations on a catalog and on a naive model of
// one, and compares all that can be seen of them.
package random
