//go:build !unix

package pgtest

import "testing"

// Server is a PostgreSQL server. There is none on this system: [Start] always skips
// the test, or fails it, so that no method is ever called.
type Server struct{}

// Start skips the test, or fails it if the environment variable CUSTOMSTATUS_REQUIRED
// is set: servers are started on Unix systems only.
func Start(t testing.TB, _ *Options) *Server {
	t.Helper()
	unsupported(t, "the store on PostgreSQL")
	return &Server{}
}

// Bouncer does what [Start] does.
func Bouncer(t testing.TB, _ string) (addr string) {
	t.Helper()
	unsupported(t, "the store behind PgBouncer")
	return ""
}

func unsupported(t testing.TB, untested string) {
	t.Helper()
	refuse(t, "servers are started on Unix systems only: "+untested+" is NOT tested")
}

// Addr returns nothing.
func (s *Server) Addr() string { return "" }

// DSN returns nothing.
func (s *Server) DSN(string) string { return "" }

// NewDatabase returns nothing.
func (s *Server) NewDatabase() string { return "" }

// Exec returns nothing.
func (s *Server) Exec(_, _ string) []string { return nil }

// Stop does nothing.
func (s *Server) Stop() {}

// Kill does nothing.
func (s *Server) Kill() {}

// Restart does nothing.
func (s *Server) Restart() {}

// Freeze does nothing.
func (s *Server) Freeze() {}

// Thaw does nothing.
func (s *Server) Thaw() {}

// Standby returns the server.
func (s *Server) Standby(bool) *Server { return s }

// Promote does nothing.
func (s *Server) Promote() {}
