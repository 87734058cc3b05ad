package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a server answers is not for the terminal to obey.
func TestErrorsAreForATerminal(t *testing.T) {
	const text = "\x1b]0;title\a\u009b31mred\u202eder\r\n\tnext \xff é"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(text))
	}))
	defer server.Close()
	var out, errs bytes.Buffer
	none := func(string) (string, bool) { return "", false }
	code := run(t.Context(), []string{"healthcheck", "--addr", server.Listener.Addr().String()}, strings.NewReader(""), &out, &errs, none)
	require.Equal(t, exitFailure, code)
	require.Equal(t, "customstatusd: healthcheck: the server answered 503 Service Unavailable: "+
		`\x1b]0;title\a\u009b31mred\u202eder\r`+"\n\tnext \uFFFD é\n", errs.String())
}
