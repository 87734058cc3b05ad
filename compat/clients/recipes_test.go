package clients

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evanw/esbuild/pkg/api"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/modfile"
)

// guide returns the page with the recipes.
func guide(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "clients.md"))
	require.NoError(t, err)
	return string(text)
}

// recipes returns the code blocks of the page in a language, with some text replaced,
// which each must be there.
func recipes(t *testing.T, language string, replaced ...string) (blocks []string) {
	t.Helper()
	for _, text := range strings.Split(guide(t), "\n```"+language+"\n")[1:] {
		block, _, closed := strings.Cut(text, "\n```\n")
		require.True(t, closed)
		for i := 0; i < len(replaced); i += 2 {
			require.Contains(t, block, replaced[i])
			block = strings.ReplaceAll(block, replaced[i], replaced[i+1])
		}
		blocks = append(blocks, block+"\n")
	}
	require.NotEmpty(t, blocks)
	return blocks
}

// The page names the versions that run.
func TestVersions(t *testing.T) {
	t.Parallel()
	text := guide(t)
	content, err := os.ReadFile(filepath.Join("testdata", "npm", "package.json"))
	require.NoError(t, err)
	var npm struct{ Dependencies map[string]string }
	require.NoError(t, json.Unmarshal(content, &npm))
	for name, version := range npm.Dependencies {
		switch {
		case name == "react":
			require.Contains(t, text, "React "+version)
		case name == "react-dom":
			require.Equal(t, npm.Dependencies["react"], version)
		default:
			if alias, of, found := strings.Cut(strings.TrimPrefix(version, "npm:"), "@"); found {
				name, version = alias, of
			}
			require.Contains(t, text, "| `"+name+"` (npm) | "+version+" |")
		}
	}
	content, err = os.ReadFile("go.mod")
	require.NoError(t, err)
	mod, err := modfile.Parse("go.mod", content, nil)
	require.NoError(t, err)
	rows := 0
	for _, r := range mod.Require {
		if strings.Contains(text, "| `"+r.Mod.Path+"` (Go) |") {
			require.Contains(t, text, "| `"+r.Mod.Path+"` (Go) | "+r.Mod.Version+" |")
			rows++
		}
	}
	require.Len(t, goLibraries(), rows)
}

// host is a server that has pages of its own and the catalog's endpoints at one origin.
func host(t *testing.T, d *daemon, pages http.Handler) *httptest.Server {
	t.Helper()
	target, err := url.Parse("http://" + d.addr)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		ErrorLog: log.New(io.Discard, "", 0), // the server is away now and then
	}
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.Handle("/session", proxy)
	mux.Handle("/api/v1/", proxy)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// bundle makes one script of the recipes and a page that uses them.
func bundle(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	npmInstall(t, dir)
	files := map[string]string{
		"statuses.js":    recipes(t, "js")[1],
		"useStatuses.js": recipes(t, "jsx")[0],
		"main.jsx": `
			import { createRoot } from 'react-dom/client';
			import { useStatuses } from './useStatuses.js';
			import { create } from './statuses.js';

			window.create = create;
			function Page() {
				return <ul>{useStatuses().map((status) => <li key={status._id}>{status.name}</li>)}</ul>;
			}
			createRoot(document.body.appendChild(document.createElement('div'))).render(<Page />);`,
	}
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666))
	}
	built := api.Build(api.BuildOptions{
		EntryPoints: []string{filepath.Join(dir, "main.jsx")}, Bundle: true, JSX: api.JSXAutomatic, LogLevel: api.LogLevelError,
		Define: map[string]string{"process.env.NODE_ENV": `"production"`},
	})
	require.Empty(t, built.Errors)
	return string(built.OutputFiles[0].Contents)
}

// The recipes for a page and for React show the statuses, whatever happens to the
// server. While it is away, the host answers 502.
func TestReact(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	script := bundle(t)
	d := newDaemon(t)
	server := host(t, d, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/main.js" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write([]byte(script)) // fails only if the browser has gone
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><body><script src=/main.js defer></script>"))
	}))
	d.start()
	b.open(server.URL)
	b.eval(`const [userId, authToken] = args;`+recipes(t, "js")[0], d.admin.userID, d.admin.token)
	b.open(server.URL)
	shows := func(names ...string) {
		t.Helper()
		want, err := json.Marshal(append([]string{}, names...))
		require.NoError(t, err)
		b.until(`JSON.stringify([...document.querySelectorAll('li')].map((li) => li.innerText).sort()) === '` + string(want) + `'`)
	}

	require.Equal(t, `200`, b.eval(`return (await create('Lunch', 'away')).status`))
	shows("Lunch")
	d.do("backup", "older.db")
	_, id := d.create("Meeting")
	shows("Lunch", "Meeting")
	d.rename(id, "In a meeting")
	shows("In a meeting", "Lunch")

	d.stop()
	b.until(`fetch('/session').then((answer) => answer.status === 502)`)
	d.start()
	d.create("Back")
	shows("Back", "In a meeting", "Lunch")

	d.stop()
	require.NoError(t, os.Rename(filepath.Join(d.dir, "older.db"), filepath.Join(d.dir, "customstatus.db")))
	d.start()
	shows("Lunch")
	d.create("New")
	shows("Lunch", "New")
	server.CloseClientConnections() // or the streams would hold up its end
	d.stop()
}
