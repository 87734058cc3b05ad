// Package benchmarks times this library beside its alternatives for a chat server, which
// are in package contestant.
//
// This command runs the whole comparison and writes docs/performance.md:
//
//	go run ./benchmarks/cmd/report
//
// This command runs one row and writes a profile:
//
//	go test ./benchmarks -run '^$' -bench 'GetByID/n=100000/by=customstatus-bolt$' -cpuprofile cpu.prof
//
// The name of a benchmark has the workload, the number of statuses and the contestant.
package benchmarks
