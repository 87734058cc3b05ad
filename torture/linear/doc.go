// Package linear records the results of concurrent clients of a catalog and
// checks that they are linearizable: one operation after the other, each at an
// instant between its call and its return, could have given the same results. It
// also checks that watchers see exactly the commits, in order.
package linear
