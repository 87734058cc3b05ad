// Package benchmarks times this library side by side with what a chat server's
// author would use instead of it, package contestant, at the same work.
//
// The whole comparison, with its summary in docs/performance.md, is
//
//	go run ./benchmarks/cmd/report
//
// and one row of it, for a look at a profile:
//
//	go test ./benchmarks -run '^$' -bench 'GetByID/n=100000/by=customstatus-bolt$' -cpuprofile cpu.prof
//
// A name says what is done, how many statuses the catalog has, and by whom.
package benchmarks
