//go:build !race

package sim

// raced says that the race detector is there.
const raced = false
