// Package bolt keeps the records of a catalog in a bbolt file. A record has
// text, a time and a revision. The package keeps ids and names unique, and
// makes each commit atomic and durable. It knows no other rules of a catalog.
// The root package exports the engine as BoltStore.
package bolt
