package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// chat is the example examples/chatserver, always at the same address.
type chat struct {
	t         *testing.T
	dir       string
	addr      string
	passwords map[string]string // of the first start
	running   *exec.Cmd
}

var passwordLine = regexp.MustCompile(`^  (\w+) +(\S+)$`)

func newChat(t *testing.T) *chat {
	t.Helper()
	c := &chat{t: t, dir: filepath.Join(t.TempDir(), "data"), addr: freeAddr(t), passwords: make(map[string]string)}
	c.start()
	return c
}

// start starts the server and returns when it listens.
func (c *chat) start() {
	c.t.Helper()
	cmd := exec.Command("chatserver", "-addr", c.addr, "-data", c.dir)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(c.t, err)
	require.NoError(c.t, cmd.Start())
	c.running = cmd
	c.t.Cleanup(func() { _ = cmd.Process.Kill() }) // an error means that it has ended
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if m := passwordLine.FindStringSubmatch(lines.Text()); m != nil {
			c.passwords[m[1]] = m[2]
		}
		if strings.Contains(lines.Text(), ": open http://") {
			return // what comes later fits into the pipe
		}
	}
	require.FailNow(c.t, "the server did not start")
}

func (c *chat) stop() {
	c.t.Helper()
	require.NoError(c.t, c.running.Process.Signal(syscall.SIGTERM))
	require.NoError(c.t, c.running.Wait())
}

// person is somebody's own browser, with cookies of its own, on the page of the chat.
type person struct {
	*tab
	chat *chat
}

// person opens the page without logging in.
func (c *chat) person(b *tab) *person {
	c.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	c.t.Cleanup(cancel)
	require.NoError(c.t, chromedp.Do(ctx))
	p := &person{&tab{c.t, ctx}, c}
	p.resize(1280)
	p.open("http://" + c.addr)
	p.until(`!$('entrance').hidden`)
	return p
}

// open opens an address with the helpers of these tests.
func (p *person) open(url string) {
	p.t.Helper()
	p.tab.open(url)
	p.help()
}

// help defines what the scripts of these tests use.
func (p *person) help() {
	p.t.Helper()
	p.eval(`
		window.$ = (id) => document.getElementById(id);
		window.row = (list, name) => [...$(list).children].find((li) => li.textContent.startsWith(name));
		window.button = (place, name) => [...place.querySelectorAll('button')].find((b) => b.textContent.trim() === name);
		window.shown = (e) => e.checkVisibility({ visibilityProperty: true });
		window.toasted = (text) => $('toasts').textContent.includes(text);`)
}

func (p *person) resize(width int64) {
	p.t.Helper()
	in(p.tab, chromedp.EmulateViewport(width, 800))
}

// prefer sets the colour scheme, light or dark.
func (p *person) prefer(scheme string) {
	p.t.Helper()
	in(p.tab, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

// fill types into a field of a form, as by hand, and replaces what is there.
func (p *person) fill(id, text string) {
	p.t.Helper()
	p.eval(`$(args[0]).focus(); $(args[0]).select()`, id)
	if text == "" {
		p.press(kb.Backspace)
		return
	}
	p.eval(`document.execCommand('insertText', false, args[0])`, text)
}

// press presses keys.
func (p *person) press(keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		in(p.tab, chromedp.KeyEvent(key))
	}
}

// click clicks on the element that an expression of JavaScript returns. It waits for
// the element.
func (p *person) click(expression string) {
	p.t.Helper()
	p.until(`(() => { const e = ` + expression + `; return e && shown(e) && !e.disabled; })()`)
	p.eval(`const e = ` + expression + `; e.focus(); e.click()`) // a mouse gives the focus, too
}

func (p *person) submit(form string) {
	p.t.Helper()
	p.eval(`$(args[0]).requestSubmit()`, form)
}

func (p *person) logIn(name, password string) {
	p.t.Helper()
	// The page first asks the server who is logged in. A late answer would end this login.
	p.until(`!$('entrance').hidden`)
	p.fill("login-user", name)
	p.fill("login-password", password)
	p.submit("login")
}

// comeIn logs in as one of the people of the first start.
func (p *person) comeIn(name string) *person {
	p.t.Helper()
	p.logIn(name, p.chat.passwords[name])
	p.until(`!$('chat').hidden && $('people').children.length === 3 && $('choices').children.length > 1`)
	return p
}

// create adds a status as an admin whose page is open.
func (p *person) create(name, statusType string) {
	p.t.Helper()
	require.Equal(p.t, "200", p.eval(`return (await fetch('/api/v1/custom-user-status.create', {
		method: 'POST', body: JSON.stringify({ name: args[0], statusType: args[1] }),
	})).status`, name, statusType))
}

// say posts a message without using the form.
func (p *person) say(text string) {
	p.t.Helper()
	require.Equal(p.t, "200", p.eval(`return (await fetch('/api/v1/chat.postMessage', {
		method: 'POST', body: JSON.stringify({ text: args[0] }),
	})).status`, text))
}

// pick picks a status by its name.
func (p *person) pick(name string) {
	p.t.Helper()
	p.click(`$('pick')`)
	p.click(`[...$('choices').querySelectorAll('button')].find((b) => b.textContent.startsWith(` + quote(name) + `))`)
	p.until(`!$('picker').open`)
	p.until(`$('pick-name').textContent === ` + quote(name))
}

// quote returns a string of JavaScript, exactly as JSON.stringify does.
func quote(s string) string {
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err)
	}
	return strings.TrimSpace(text.String())
}
