// Package hostile has two thousand clients at once that are slow, deaf, cut off or
// lying, and looks what honest clients are told meanwhile. Its tests run on Linux.
package hostile
