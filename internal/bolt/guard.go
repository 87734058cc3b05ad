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

// guard runs fn, which calls bbolt, and makes an error of a panic, also of one
// because the mapped file cannot be read: it was cut short, or the disk fails.
// Such a fault would otherwise end the process.
func guard(fn func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = newPanicError(value)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return fn()
}

// PanicError is a panic that was caught. It is [sentinel.ErrDamaged] if a part of
// the mapped file could not be read, or if bbolt itself panicked, which it does
// over a file that does not hold what it should. Any other panic is a fault of the
// program, and no damage.
type PanicError struct {
	value  any
	stack  []byte
	damage bool
}

// newPanicError is called by the deferred function that recovered the value.
func newPanicError(value any) *PanicError {
	_, fault := value.(interface{ Addr() uintptr })
	return &PanicError{value: value, stack: debug.Stack(), damage: fault || strings.HasPrefix(origin(), bboltPackage)}
}

const bboltPackage = "go.etcd.io/bbolt"

// origin returns the name of the function that panicked, or of its first caller
// beyond the standard library.
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

// standard reports whether a function is one of the standard library, whose
// import paths begin with a word that is no domain. A path of a host's program may
// do so, too; only package main is known not to be the library's.
func standard(function string) bool {
	first, _, _ := strings.Cut(function, "/")
	if first == function {
		first, _, _ = strings.Cut(function, ".")
	}
	return first != "main" && !strings.Contains(first, ".")
}

// Error says what the panic was, without the stack.
func (e *PanicError) Error() string {
	if fault, ok := e.value.(interface{ Addr() uintptr }); ok {
		return fmt.Sprintf("%v: a part of the file cannot be read: %v", sentinel.ErrDamaged, fault)
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

// LogValue implements [slog.LogValuer]: a log gets the stack, too.
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
