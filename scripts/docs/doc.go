// Package docs has the tests of the documentation: links lead somewhere, Go snippets are
// code of this repository, and commands run as they stand there.
package docs
