// Package random performs random operations on a catalog and on a naive model,
// and compares all visible results.
package random
