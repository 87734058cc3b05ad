//go:build nocluster

package main

// isRefusal is for shared stores, which this program was built without.
func isRefusal(error) bool { return false }

// isAway is for shared stores, too.
func isAway(error) bool { return false }
