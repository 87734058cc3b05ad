// Package compat tests the HTTP adapter behind the routers and middlewares that
// Go servers use. It has a module of its own, so that whoever embeds the adapter
// requires none of them.
package compat
