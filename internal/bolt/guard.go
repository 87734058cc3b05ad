package bolt

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/customstatus/customstatus/internal/sentinel"
)

// guard runs fn, which calls bbolt, and turns a panic into a [*PanicError].
// That includes the fault when a part of the mapped file can't be read, because
// the file was truncated or the disk fails. Without guard, such a fault ends
// the process.
func guard(fn func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = newPanicError(value)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return fn()
}

// PanicError is a recovered panic. It wraps [sentinel.ErrDamaged] if a part of
// the mapped file could not be read, or if bbolt itself panicked, as it does
// over a damaged file. Any other panic is a fault of the program and not
// damage.
type PanicError struct {
	value  any
	stack  []byte
	damage bool
}

// newPanicError returns the error for a recovered value. The deferred function
// that recovered the value must call it directly.
func newPanicError(value any) *PanicError {
	_, fault := value.(interface{ Addr() uintptr })
	return &PanicError{value: value, stack: debug.Stack(), damage: fault || strings.HasPrefix(origin(), bboltPackage)}
}

const bboltPackage = "go.etcd.io/bbolt"

// origin returns the name of the function that panicked. If it is in the
// standard library, origin returns its first caller outside of the library.
func origin() string {
	var callers [64]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(0, callers[:])])
	panicked := false
	for {
		frame, more := frames.Next()
		name := frame.Function
		switch {
		case name == "runtime.gopanic":
			panicked = true
		case panicked && !standard(name):
			return name
		case !more:
			return ""
		}
	}
}

// standard reports whether a function is in the standard library, judged by its
// import path: the first element has no dot. A host's import path may have no
// dot either. Only package main is known not to be in the library.
func standard(function string) bool {
	first, _, _ := strings.Cut(function, "/")
	if first == function {
		first, _, _ = strings.Cut(function, ".")
	}
	return first != "main" && !strings.Contains(first, ".")
}

// Error returns the panic's value as text, without the stack.
func (e *PanicError) Error() string {
	if fault, ok := e.value.(interface{ Addr() uintptr }); ok {
		return fmt.Sprintf("%v: a part of the file can't be read: %v", sentinel.ErrDamaged, fault)
	}
	if e.damage {
		return fmt.Sprintf("%v: bbolt panicked: %v", sentinel.ErrDamaged, e.value)
	}
	return fmt.Sprintf("internal error: panic: %v", e.value)
}

// Stack returns the stack of the goroutine at the panic.
func (e *PanicError) Stack() []byte { return e.stack }

// Format implements [fmt.Formatter]: %+v adds the stack.
func (e *PanicError) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'v' && f.Flag('+'):
		_, _ = fmt.Fprintf(f, "%s\n\n%s", e.Error(), e.stack)
	case verb == 'q':
		_, _ = fmt.Fprintf(f, "%q", e.Error())
	default:
		_, _ = io.WriteString(f, e.Error())
	}
}

// LogValue implements [slog.LogValuer]. The log entry includes the stack.
func (e *PanicError) LogValue() slog.Value {
	return slog.GroupValue(slog.String("error", e.Error()), slog.String("stack", string(e.stack)))
}

// Unwrap returns [sentinel.ErrDamaged] or nil.
func (e *PanicError) Unwrap() error {
	if e.damage {
		return sentinel.ErrDamaged
	}
	return nil
}

func isPanic(err error) bool {
	var p *PanicError
	return errors.As(err, &p)
}
