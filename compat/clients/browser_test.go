package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// tab is a page in a real Chromium.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// newBrowser starts a Chromium with a profile of its own and opens a tab.
func newBrowser(t *testing.T) *tab {
	t.Helper()
	path := program(t, "chromium", "chromium")
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // which root can't have
		chromedp.DisableGPU,
		chromedp.IgnoreCertErrors,
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-quic", true),
	)...)
	t.Cleanup(cancel)
	b := &tab{t, allocator}
	first := b.newTab()
	t.Cleanup(func() { _ = chromedp.Cancel(first.ctx) }) // waits for the end of the browser; an error means that it has ended
	return first
}

// newTab opens another tab of the same browser, with the same cookies.
func (b *tab) newTab() *tab {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	require.NoError(b.t, chromedp.Do(ctx)) // a time limit here would be the tab's
	return &tab{b.t, ctx}
}

// in runs an action in a tab, for a while.
func in[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	require.NoError(b.t, err)
	return result
}

func (b *tab) open(url string) {
	b.t.Helper()
	in(b, chromedp.Navigate(url))
}

// eval returns the JSON of what the body of an async function returns.
func (b *tab) eval(body string, args ...any) string {
	b.t.Helper()
	given, err := json.Marshal(args)
	require.NoError(b.t, err)
	return in(b, chromedp.Evaluate[string](
		fmt.Sprintf(`(async (args) => {%s})(%s).then((v) => JSON.stringify(v ?? null))`, body, given), chromedp.EvalAwaitPromise))
}

// until waits until an expression of JavaScript is true. An exception means not yet: the
// page may not have the element yet.
func (b *tab) until(expression string) {
	b.t.Helper()
	expression = fmt.Sprintf(`(() => { try { return %s } catch { return false } })()`, expression)
	in(b, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(patience)))
}

// follow opens a plain EventSource whose events go to window.events.
func (b *tab) follow(url string) {
	b.t.Helper()
	b.eval(`
		window.events = [];
		window.source = new EventSource(args[0], { withCredentials: true });
		for (const name of ['message', 'ready', 'created', 'updated', 'deleted', 'reset']) {
			source.addEventListener(name, (e) => events.push(name + ' ' + e.data));
		}`, url)
}

// received waits for a number of events and returns all.
func (b *tab) received(n int) (events []string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`events.length >= %d`, n))
	require.NoError(b.t, json.Unmarshal([]byte(b.eval(`return events`)), &events))
	return events
}

// signIn signs in on a page of the server's own origin.
func (b *tab) signIn(d *daemon) {
	b.t.Helper()
	b.signInAt("http://"+d.addr+"/healthz", d)
}

func (b *tab) signInAt(url string, d *daemon) {
	b.t.Helper()
	b.open(url)
	answer := b.eval(`
		const answer = await fetch('/session', { method: 'POST', body: JSON.stringify({ userId: args[0], authToken: args[1] }) });
		return answer.status + ' ' + (await answer.json()).userId`, d.admin.userID, d.admin.token)
	require.Equal(b.t, `"200 admin"`, answer)
}

const (
	createScript = `
		const answer = await fetch(args[0], { method: 'POST', credentials: 'include', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ name: args[1], statusType: 'busy' }) });
		return answer.status`
	totalScript = `
		const answer = await fetch(args[0], { credentials: 'include' });
		return answer.ok ? (await answer.json()).total : answer.status`
)

// A page of the server's own origin signs in, lists, follows, writes and signs out.
func TestBrowser(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	d := newDaemon(t)
	d.start()
	b.signIn(d)
	require.Equal(t, `""`, b.eval(`return document.cookie`), "scripts can't read the cookie")
	require.Equal(t, `0`, b.eval(totalScript, d.url("list")))
	b.follow(d.url("stream"))
	b.received(1)
	require.Equal(t, `200`, b.eval(createScript, d.url("create"), "Lunch"))
	b.received(2)

	d.stop()
	d.start()
	b.received(3)
	created, id := d.create("Meeting")
	renamed := d.rename(id, "In a meeting")
	events := b.received(5)
	require.Len(t, events, 5)
	require.Equal(t, []string{"created " + created.Data, "updated " + renamed.Data}, events[3:])
	require.Equal(t, `2`, b.eval(totalScript, d.url("list")))

	require.Equal(t, `200`, b.eval(`return (await fetch('/session', { method: 'DELETE' })).status`))
	b.until(`source.readyState === EventSource.CLOSED`) // it came back and was refused
	require.Equal(t, `401`, b.eval(totalScript, d.url("list")))
	require.Len(t, b.received(5), 5)
	d.stop()
}

// Over HTTPS the cookie is one that only this host can set, and the stream shares an
// HTTP/2 connection with all else.
func TestBrowserOverHTTPS(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	d := newDaemon(t)
	f := newFront(t)
	nginx(t, f, d)
	d.start()
	origin := "https://" + f.addr
	f.write("index.html", "<!doctype html><title>chat</title>")
	b.signInAt(origin, d)
	for range 7 { // more than a browser's connections to a host over HTTP/1.1
		b.follow(origin + statuses + "stream")
		b.received(1)
	}
	require.Equal(t, `200`, b.eval(createScript, origin+statuses+"create", "Lunch"))
	require.Regexp(t, `^created .*"name":"Lunch"`, b.received(2)[1])
	require.Equal(t, `"h2"`, b.eval(`return performance.getEntriesByType('resource').at(-1).nextHopProtocol`))
	require.Equal(t, `200`, b.eval(`return (await fetch('/session', { method: 'DELETE' })).status`))
	b.until(`source.readyState === EventSource.CLOSED`)
	d.stop()
}

// page serves an empty page, to be the origin of scripts.
func page(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
	}))
	t.Cleanup(server.Close)
	return server
}

// asLocalhost returns the same address by a name, which is another site to a browser.
func asLocalhost(url string) string { return strings.Replace(url, "127.0.0.1", "localhost", 1) }

// outcome is what a page gets of a request: the status, or that it failed.
const outcome = `.then((answer) => answer.type === 'opaque' ? 'opaque' : answer.status, () => 'failed')`

// attack does what a page of another origin can try. It must get and change nothing.
func (b *tab) attack(d *daemon) {
	b.t.Helper()
	results := b.eval(`
		const [list, create, update, session, stream, id] = args;
		const json = { 'Content-Type': 'application/json' };
		const body = JSON.stringify({ name: 'evil', statusType: 'busy' });
		const form = new URLSearchParams({ name: 'evil', statusType: 'busy' });
		const source = new EventSource(stream, { withCredentials: true });
		const streamed = new Promise((resolve) => {
			source.addEventListener('ready', () => resolve('ready'));
			source.addEventListener('error', () => resolve('failed'));
		});
		const results = [
			await streamed,
			await fetch(list, { credentials: 'include' })`+outcome+`,
			await fetch(session, { credentials: 'include' })`+outcome+`,
			await fetch(create, { method: 'POST', credentials: 'include', headers: json, body })`+outcome+`,
			await fetch(create, { method: 'POST', credentials: 'include', body })`+outcome+`,
			await fetch(create, { method: 'POST', credentials: 'include', body: form })`+outcome+`,
			await fetch(create, { method: 'POST', credentials: 'include', headers: { 'X-Auth-Token': '' }, body })`+outcome+`,
			await fetch(session, { method: 'DELETE', credentials: 'include' })`+outcome+`,
			await fetch(create, { method: 'POST', mode: 'no-cors', credentials: 'include', body })`+outcome+`,
			await fetch(session, { method: 'POST', mode: 'no-cors', credentials: 'include', body: JSON.stringify({ userId: 'x', authToken: 'y' }) })`+outcome+`,
		];
		source.close();
		return results.join(' ')`, d.url("list"), d.url("create"), d.url("update"), "http://"+d.addr+"/session", d.url("stream"))
	require.Equal(b.t, `"failed failed failed failed failed failed failed failed opaque opaque"`, results)

	// A form needs no permission to be sent. The answer replaces the page.
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	answer, err := chromedp.RunResponse(ctx, chromedp.Evaluate[chromedp.Void](`
		document.body.innerHTML = '<form method=post><input name=name value=evil><input name=statusType value=busy></form>';
		document.forms[0].action = '`+d.url("create")+`';
		document.forms[0].submit()`))
	require.NoError(b.t, err)
	require.EqualValues(b.t, http.StatusForbidden, answer.Status)
}

// Pages of other origins, of the same site and of another, get nothing and change
// nothing with the browser's session.
func TestOtherOriginsGetNothing(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	d := newDaemon(t)
	d.start()
	b.signIn(d)
	b.follow(d.url("stream"))
	server := page(t)
	for _, origin := range []string{server.URL, asLocalhost(server.URL)} {
		attacker := b.newTab()
		attacker.open(origin)
		attacker.attack(d)
	}
	require.Equal(t, `0`, b.eval(totalScript, d.url("list")), "still signed in, and nothing is there")
	created, _ := d.create("Lunch")
	events := b.received(2)
	require.Equal(t, []string{"created " + created.Data}, events[1:])
	d.stop()
}

// With --cors-origin the pages of that origin can do what the server's own can.
func TestAllowedOrigin(t *testing.T) {
	t.Parallel()
	friend, other := page(t), page(t)
	b := newBrowser(t)
	d := newDaemon(t, "--cors-origin", friend.URL+","+asLocalhost(friend.URL))
	d.start()
	b.signIn(d)

	b.open(friend.URL)
	require.Equal(t, `0`, b.eval(totalScript, d.url("list")))
	b.follow(d.url("stream"))
	b.received(1)
	require.Equal(t, `200`, b.eval(createScript, d.url("create"), "Lunch"))
	require.Regexp(t, `^created .*"name":"Lunch"`, b.received(2)[1])

	// Another site gets no cookie, but may send a token.
	foreign := b.newTab()
	foreign.open(asLocalhost(friend.URL))
	require.Equal(t, `401`, foreign.eval(totalScript, d.url("list")))
	require.Equal(t, `["\"","1-","id"]`, foreign.eval(`
		const answer = await fetch(args[0], { headers: { 'X-User-Id': args[1], 'X-Auth-Token': args[2] } });
		const header = (name) => answer.headers.get(name) ?? '';
		return [header('ETag').slice(0, 1), header('X-Catalog-Position').slice(0, 2), header('X-Request-Id') && 'id']`,
		d.url("list"), d.admin.userID, d.admin.token))

	attacker := b.newTab()
	attacker.open(other.URL)
	attacker.attack(d)
	require.Equal(t, `1`, b.eval(totalScript, d.url("list")))

	require.Equal(t, `200`, b.eval(`return (await fetch(args[0], { method: 'DELETE', credentials: 'include' })).status`, "http://"+d.addr+"/session"))
	require.Equal(t, `401`, b.eval(totalScript, d.url("list")))
	d.stop()
}
