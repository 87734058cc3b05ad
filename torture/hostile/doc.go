// Package hostile runs two thousand concurrent clients that are slow, read
// nothing, are cut off or send false lengths, and checks the answers to honest
// clients meanwhile. Its tests run on Linux.
package hostile
