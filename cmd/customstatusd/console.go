package main

import (
	"net/http"

	"github.com/customstatus/customstatus/httpadapter/console"
)

// The modes of --console.
const (
	consoleOn       = "on"
	consoleReadOnly = "read-only"
	consoleOff      = "off"
)

func (c *serveConfig) hasConsole() bool {
	return c.console != consoleOff && c.browsers.sessionTime != 0
}

// withConsole serves the console at the root, and next elsewhere. People sign in there
// with a token for a session, so without sessions there is no console.
func (c *serveConfig) withConsole(next http.Handler) http.Handler {
	if !c.hasConsole() {
		return next
	}
	return console.New(&console.Options{
		API:      c.prefix,
		Session:  sessionPath,
		ReadOnly: c.console == consoleReadOnly,
		Next:     next,
	})
}
