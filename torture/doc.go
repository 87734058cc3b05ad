// Package torture tries to break the library from outside: with concurrent
// histories and a checker for them, a simulation of several servers over one store,
// real servers and disks that fail below three catalogs, random operations beside a
// model, processes killed and starved, and clients that mean harm. Its packages hold tests, and what those of other packages need to record
// and check histories; docs/reliability.md says what each of them shows.
//
//	go test ./torture/...                                      a minute
//	CUSTOMSTATUS_TORTURE=1 go test -timeout 1h ./torture/...   thousands of rounds
package torture
