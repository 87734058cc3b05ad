// Package clients runs programs of others against the real customstatusd: libraries
// for event streams, a browser, proxies, and MongoDB's reader and writer of extended
// JSON. It also uses the page of the example chatserver in a browser. It has a module of
// its own, so that nobody else requires them.
//
// What is not on the machine is skipped, and the skip says what is missing. Where
// the environment variable CUSTOMSTATUS_REQUIRED is set, as .ci/run sets it, such a
// skip is a failure. The go command doesn't know which programs the tests build: run
// them with -count=1 after a change of customstatusd or the example.
package clients
