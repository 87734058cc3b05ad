package pgtest

import "syscall"

// dieTogether lets the program end when the thread that starts it ends. PostgreSQL
// then drops its connections at once and keeps its files intact.
func dieTogether(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGQUIT }
