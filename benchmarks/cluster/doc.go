// Package cluster times the shared stores beside stores that are written by hand for
// the same servers.
package cluster
