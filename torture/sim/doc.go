// Package sim runs catalogs, their clients, and a shared store in simulated time. The
// time and every delay, loss, freeze and crash come from one seed, so that a seed that
// fails can be run again. The store is a model of two designs: a database with one row
// that orders all commits, and a cluster of members with leases and a watch.
package sim
