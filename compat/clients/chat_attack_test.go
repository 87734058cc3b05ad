package clients

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// watch collects what a page asks for, and what the browser complains of.
type watch struct {
	mu                 sync.Mutex
	requests, troubles []string
}

func (p *person) watch() *watch {
	p.t.Helper()
	w := new(watch)
	require.NoError(p.t, chromedp.Listen(p.ctx, func(event any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			w.requests = append(w.requests, e.Request.URL)
		case *runtime.EventExceptionThrown:
			w.troubles = append(w.troubles, e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			// The browser logs every refusal of the server.
			if e.Entry.Level == log.EntryLevelError && !strings.Contains(e.Entry.Text, "the server responded with a status of 4") {
				w.troubles = append(w.troubles, e.Entry.Text)
			}
		}
	}))
	return w
}

// seen returns copies of both.
func (w *watch) seen() (requests, troubles []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(requests, w.requests...), append(troubles, w.troubles...)
}

// replacing replaces text in a body as it passes. Both texts have the same length.
type replacing struct {
	io.ReadCloser
	from, to []byte
}

func (r replacing) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	copy(b, bytes.ReplaceAll(b[:n], r.from, r.to))
	return n, err
}

// rewriting returns the address of a proxy that replaces a text in all answers by another
// of the same length.
func rewriting(t *testing.T, of, from, to string) string {
	t.Helper()
	server, err := url.Parse(of)
	require.NoError(t, err)
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(server)
			r.Out.Host = r.In.Host
			r.Out.Header.Set("Accept-Encoding", "identity")
		},
		ModifyResponse: func(answer *http.Response) error {
			answer.Body = replacing{answer.Body, []byte(from), []byte(to)}
			return nil
		},
	})
	t.Cleanup(proxy.Close)
	t.Cleanup(proxy.CloseClientConnections)
	return proxy.URL
}

// The rules let no markup into the catalog's names, but a page must not rely on that.
// A proxy puts markup into names, and the page shows it as text, everywhere.
func TestChatMarkupIsText(t *testing.T) {
	t.Parallel()
	c := newChat(t)
	markup := `<img src=x onerror=document.title=1>`
	plain := strings.Repeat("q", len(markup))
	proxy := rewriting(t, "http://"+c.addr, plain, markup)
	direct := c.addr
	c.addr = strings.TrimPrefix(proxy, "http://")
	b := newBrowser(t)
	admin, alice := c.person(b).comeIn("admin"), c.person(b).comeIn("alice")
	c.addr = direct
	watch := admin.watch()

	admin.create(plain, "busy")
	alice.pick(markup)
	alice.say(markup + ` <script>document.title = 2</script>`)
	admin.until(`$('messages').lastChild?.textContent.endsWith(` + quote(markup+` <script>document.title = 2</script>`) + `)`)
	admin.until(`row('people', 'Aalice').textContent.includes(` + quote(markup) + `) && row('choices', ` + quote(markup) + `) && row('statuses', ` + quote(markup) + `)`)
	before := admin.eval(`return document.images.length`)
	admin.everywhere(markup, func(place string) {
		require.Equal(t, "["+before+`,0,"Chat"]`, admin.eval(`return [document.images.length, document.body.querySelectorAll('script').length, document.title]`), place)
	})
	admin.click(`button(row('statuses', ` + quote(markup) + `), 'Delete')`)
	require.Contains(t, admin.eval(`return $('remover-text').textContent`), markup)
	admin.submit("remove")
	for _, p := range []*person{admin, alice} {
		p.until(`toasted(` + quote(markup) + `)`)
		require.Equal(t, before, p.eval(`return document.images.length`))
	}
	_, troubles := watch.seen()
	require.Empty(t, troubles)

	// Should a script ever make HTML of a text, the policy stops it.
	require.Equal(t, `"TypeError"`, admin.eval(`try { document.body.innerHTML = args[0]; } catch (e) { return e.name; }`, markup))
}

// The page asks nobody but its own server for anything, and breaks no policy.
func TestChatAsksNobodyElse(t *testing.T) {
	t.Parallel()
	c := newChat(t)
	admin := c.person(newBrowser(t))
	watch := admin.watch()
	admin.open("http://" + c.addr)
	admin.comeIn("admin").pick("At lunch")
	admin.say("https://example.com/picture.png")
	admin.everywhere("At lunch", func(string) {})
	requests, troubles := watch.seen()
	require.Empty(t, troubles)
	require.Greater(t, len(requests), 8)
	for _, r := range requests {
		require.True(t, strings.HasPrefix(r, "http://"+c.addr+"/"), r)
	}
	c.stop()
}

// Pages of other origins, of the same site and of another, can neither read nor write
// with the browser's login, nor end it.
func TestChatOtherOrigins(t *testing.T) {
	t.Parallel()
	c := newChat(t)
	admin := c.person(newBrowser(t)).comeIn("admin")
	server := page(t)
	for _, origin := range []string{server.URL, asLocalhost(server.URL)} {
		attacker := &person{admin.newTab(), c}
		attacker.open(origin)
		require.Equal(t, `"failed failed opaque opaque opaque failed"`, attacker.eval(`
			const [base] = args, own = { credentials: 'include' }, blind = { ...own, method: 'POST', mode: 'no-cors' };
			return [
				await fetch(base + '/session', own)`+outcome+`,
				await fetch(base + '/api/v1/custom-user-status.list', own)`+outcome+`,
				await fetch(base + '/api/v1/custom-user-status.create', { ...blind, body: JSON.stringify({ name: 'evil', statusType: 'busy' }) })`+outcome+`,
				await fetch(base + '/api/v1/chat.postMessage', { ...blind, body: JSON.stringify({ text: 'evil' }) })`+outcome+`,
				await fetch(base + '/session', { ...blind, body: JSON.stringify({ user: 'alice', password: args[1] }) })`+outcome+`,
				await fetch(base + '/session', { ...own, method: 'DELETE' })`+outcome+`,
			].join(' ')`, "http://"+c.addr, c.passwords["alice"]))
	}
	admin.open("http://" + c.addr)
	admin.until(`!$('chat').hidden && $('people').children.length === 3 && $('statuses').children.length === 4`)
	require.Equal(t, `["admin",0]`, admin.eval(`return [$('me').textContent, $('messages').children.length]`))
	c.stop()
}
