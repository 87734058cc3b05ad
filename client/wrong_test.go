package client_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/client"
)

// A server whose pages always have new statuses can't fill the memory.
func TestListIsBounded(t *testing.T) {
	pages := 0
	c := quick(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pages++
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"success":true,"statuses":[{"_id":"%09d"},{"_id":"%09d"}],"total":9000000000000000000}`, pages, pages+1)
	})), client.Options{MaxListBytes: 256 * 100})
	for _, err := range c.All(t.Context(), client.Query{}) {
		require.ErrorIs(t, err, client.ErrUnexpectedAnswer)
		require.ErrorContains(t, err, "the pages have more than 25600 bytes")
	}
	require.Equal(t, 101, pages)
}
