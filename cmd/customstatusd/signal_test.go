package main

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The first signal can come twice: "timeout" signals the process and then its process
// group. A later signal is a second one.
func TestSecondSignal(t *testing.T) {
	errStop := errors.New("of stop")
	for name, tt := range map[string]struct {
		after []time.Duration
		with  os.Signal
		want  error
	}{
		"none":                     {nil, nil, errStop},
		"the same one, twice":      {[]time.Duration{time.Millisecond, 998 * time.Millisecond}, syscall.SIGTERM, errStop},
		"a second one":             {[]time.Duration{time.Second}, syscall.SIGTERM, errSecondSignal},
		"the same one, and second": {[]time.Duration{0, time.Second}, os.Interrupt, errSecondSignal},
		"to read again":            {[]time.Duration{time.Second, time.Second}, syscall.SIGHUP, errStop},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signals, stopped := make(chan os.Signal), make(chan error)
				got := make(chan error, 1)
				go func() { got <- awaitStop(stopped, signals) }()
				synctest.Wait()
				for _, d := range tt.after {
					time.Sleep(d)
					signals <- tt.with
				}
				if tt.want == errStop {
					stopped <- errStop
				}
				require.Equal(t, tt.want, <-got)
			})
		})
	}
}
