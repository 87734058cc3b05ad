package httpadapter_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

// TestOnWrite: the host learns of each write that succeeded, and of no other.
func TestOnWrite(t *testing.T) {
	catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
	require.NoError(t, err)
	defer catalog.Close()
	var written []customstatus.CustomUserStatus
	manager := httpadapter.AuthenticatorFunc(func(*http.Request) (httpadapter.Caller, error) {
		return httpadapter.Caller{UserID: "u", MayManage: true}, nil
	})
	h := newHandler(catalog, manager, &httpadapter.Options{OnWrite: func(r *http.Request, s customstatus.CustomUserStatus) {
		require.Equal(t, "mine", r.Header.Get("X-Request-Id"))
		written = append(written, s)
	}})
	post := func(endpoint, body string) {
		r := httptest.NewRequest(http.MethodPost, httpadapter.DefaultPrefix+"custom-user-status."+endpoint, strings.NewReader(body))
		r.Header.Set("X-Auth-Token", "t")
		r.Header.Set("X-Request-Id", "mine")
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	post("create", `{"name":"a","statusType":"busy"}`)
	require.Len(t, written, 1)
	id := written[0].ID
	post("create", `{"name":"a","statusType":"busy"}`)
	post("update", `{"_id":"none","name":"b","statusType":"busy"}`)
	post("delete", `{"customUserStatusId":"none"}`)
	require.Len(t, written, 1, "refused writes")
	post("update", `{"_id":"`+id+`","name":"b","statusType":"busy"}`)
	post("delete", `{"customUserStatusId":"`+id+`"}`)
	require.Len(t, written, 3)
	for i, name := range []string{"a", "b", "b"} {
		require.Equal(t, id, written[i].ID)
		require.Equal(t, name, written[i].Name)
	}
}
