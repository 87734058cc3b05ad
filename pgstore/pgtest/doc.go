// Package pgtest starts private PostgreSQL servers for tests, from the programs on
// this machine. A server has a free port of 127.0.0.1 and a temporary directory. It
// syncs its files, so that a test can kill it. As root, a server runs as the user
// postgres or nobody, because PostgreSQL refuses root.
//
// A test is skipped if there is no PostgreSQL, and fails instead if the environment
// variable CUSTOMSTATUS_REQUIRED is set.
package pgtest
