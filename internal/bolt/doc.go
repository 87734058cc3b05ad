// Package bolt keeps the records of a catalog in a bbolt file. It knows nothing
// of a catalog's rules: its records have text, a time and a revision, and it sees
// to it that no two have one id or one name, and that a commit is whole and
// durable. The root package has its public face.
package bolt
