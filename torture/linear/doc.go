// Package linear records what concurrent clients of a catalog are told, and
// checks that it could also have happened one operation after the other, each at
// an instant between its call and its return.
package linear
