package generated_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/compat/generated"
	"github.com/customstatus/customstatus/httpadapter"
)

// TestCurrent makes the client anew. "go generate" in this directory writes it.
func TestCurrent(t *testing.T) {
	document, fresh := filepath.Join(t.TempDir(), "openapi.json"), filepath.Join(t.TempDir(), "client.go")
	require.NoError(t, os.WriteFile(document, httpadapter.OpenAPI(), 0o666))
	out, err := exec.CommandContext(t.Context(), "go", "tool", "oapi-codegen", "-config", "config.yaml", "-o", fresh, document).CombinedOutput()
	require.NoError(t, err, "%s", out)
	want, err := os.ReadFile(fresh)
	require.NoError(t, err)
	got, err := os.ReadFile("client.gen.go")
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "the document has changed: run go generate in compat/generated")
}

// TestClient uses every operation of the generated client against the real handler. The
// client has the address from the document that the server serves.
func TestClient(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	catalog, err := customstatus.Open(ctx, customstatus.NewMemoryStore(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, catalog.Close()) })
	handler := httpadapter.New(catalog, httpadapter.HeaderAuth(func(_ context.Context, userID, token string) (httpadapter.Caller, error) {
		if token != "secret" {
			return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
		}
		return httpadapter.Caller{UserID: userID, MayManage: true}, nil
	}), &httpadapter.Options{Prefix: "/chat/api", Logger: slog.New(slog.DiscardHandler)})
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Cleanup(handler.EndStreams)

	login := generated.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("X-User-Id", "u")
		r.Header.Set("X-Auth-Token", "secret")
		return nil
	})
	base := server.URL + serverOf(ctx, t, server.URL+"/chat/api/custom-user-status.openapi.json")
	client, err := generated.NewClientWithResponses(base, login)
	require.NoError(t, err)

	stream, err := client.Stream(ctx, &generated.StreamParams{})
	require.NoError(t, err)
	defer stream.Body.Close()
	require.Equal(t, http.StatusOK, stream.StatusCode)
	events := bufio.NewScanner(stream.Body)
	require.True(t, events.Scan(), "%v", events.Err())
	require.Regexp(t, "^retry: [0-9]+$", events.Text())

	lunch := generated.CreateJSONRequestBody{Name: "Lunch", StatusType: generated.StatusTypeAway}
	created, err := client.CreateWithResponse(ctx, lunch)
	require.NoError(t, err)
	require.NotNil(t, created.JSON200, "%s", created.Body)
	require.True(t, bool(created.JSON200.Success))
	status := created.JSON200.CustomUserStatus
	require.Equal(t, "Lunch", status.Name)
	for events.Scan() && !strings.HasPrefix(events.Text(), "data: {\"_id\"") {
	}
	var changed generated.CustomUserStatus
	require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(events.Text(), "data: ")), &changed))
	require.Equal(t, status, changed)

	again, err := client.CreateWithFormdataBodyWithResponse(ctx, lunch)
	require.NoError(t, err)
	require.NotNil(t, again.JSON400, "%s", again.Body)
	refused, err := again.JSON400.AsNameInUse()
	require.NoError(t, err)
	require.EqualValues(t, "Custom_User_Status_Error_Name_Already_In_Use", refused.ErrorType)

	updated, err := client.UpdateWithResponse(ctx, generated.UpdateJSONRequestBody{UnderscoreId: status.UnderscoreId, Name: "Lunch break", StatusType: "busy"})
	require.NoError(t, err)
	require.NotNil(t, updated.JSON200, "%s", updated.Body)

	listed, err := client.ListWithResponse(ctx, &generated.ListParams{Name: new("LUNCH"), Count: new(10)})
	require.NoError(t, err)
	require.NotNil(t, listed.JSON200, "%s", listed.Body)
	require.Equal(t, []generated.CustomUserStatus{updated.JSON200.CustomUserStatus}, listed.JSON200.Statuses)
	tag := listed.HTTPResponse.Header.Get("ETag")
	same, err := client.ListWithResponse(ctx, &generated.ListParams{Name: new("LUNCH"), Count: new(10), IfNoneMatch: &tag})
	require.NoError(t, err)
	require.Equal(t, http.StatusNotModified, same.StatusCode())

	deleted, err := client.DeleteWithResponse(ctx, generated.DeleteJSONRequestBody{CustomUserStatusId: status.UnderscoreId})
	require.NoError(t, err)
	require.NotNil(t, deleted.JSON200, "%s", deleted.Body)

	stranger, err := generated.NewClientWithResponses(base)
	require.NoError(t, err)
	unknown, err := stranger.ListWithResponse(ctx, &generated.ListParams{})
	require.NoError(t, err)
	require.NotNil(t, unknown.JSON401, "%s", unknown.Body)
}

// serverOf returns the server in the document at the URL.
func serverOf(ctx context.Context, t *testing.T, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	var document struct {
		Servers []struct{ URL string }
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&document))
	require.Len(t, document.Servers, 1)
	return document.Servers[0].URL
}
