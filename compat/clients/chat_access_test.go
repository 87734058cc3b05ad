package clients

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// tabTo presses Tab until the focus is on what an expression returns.
func (p *person) tabTo(expression string) {
	p.t.Helper()
	for range 40 {
		if p.eval(`return document.activeElement === `+expression) == "true" {
			return
		}
		p.press(kb.Tab)
	}
	require.FailNow(p.t, "no key leads there", "%s; the focus is on %s", expression, p.eval(`return document.activeElement.outerHTML`))
}

// All that the page is for can be done without a mouse.
func TestChatKeyboard(t *testing.T) {
	t.Parallel()
	c := newChat(t)
	admin := c.person(newBrowser(t))
	require.Equal(t, `"login-user"`, admin.eval(`return document.activeElement.id`))
	admin.press("admin", kb.Tab, c.passwords["admin"], kb.Enter)
	admin.until(`!$('chat').hidden && $('choices').children.length === 5 && $('statuses').children.length === 4`)
	for _, width := range widths {
		admin.resize(width)
		admin.tabTo(`$('pick')`)
		admin.press(kb.Enter)
		admin.until(`$('picker').open`)
		admin.tabTo(`button(row('choices', 'At lunch'), 'At lunchAway')`)
		admin.press(" ")
		admin.until(`!$('picker').open && $('pick-name').textContent === 'At lunch' && document.activeElement === $('pick')`)
		if width == 360 {
			admin.tabTo(`$('admin-view')`)
			admin.press(kb.Enter)
		}
		admin.tabTo(`$('add')`)
		admin.press(kb.Enter)
		admin.until(`$('editor').open && document.activeElement === $('edit-name')`)
		admin.press("Typed", kb.Tab, kb.ArrowRight, kb.Enter) // from busy to offline
		admin.until(`!$('editor').open && row('statuses', 'TypedOffline') && document.activeElement === $('add')`)
		admin.tabTo(`button(row('statuses', 'Typed'), 'Delete')`)
		admin.press(kb.Enter)
		admin.until(`$('remover').open`)
		admin.press(kb.Tab, kb.Enter)
		admin.until(`!row('statuses', 'Typed')`)
		if width == 360 {
			admin.tabTo(`document.querySelector('[data-shows=room]')`)
			admin.press(" ")
		}
		admin.tabTo(`$('say-text')`)
		admin.press("hello", kb.Enter)
		admin.until(`$('say-text').value === '' && $('messages').lastChild.textContent.endsWith('hello')`)
	}
	admin.tabTo(`$('logout')`)
	admin.press(kb.Enter)
	admin.until(`!$('entrance').hidden`)
	c.stop()
}

// axe-core finds nothing in any view, at any width, light or dark: labels, roles, live
// regions, contrast.
func TestChatAccessible(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	npmInstall(t, dir)
	axe, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	require.NoError(t, err)
	c := newChat(t)
	admin := c.person(newBrowser(t))
	check := func(place string) {
		t.Helper()
		for _, scheme := range []string{"light", "dark"} {
			admin.prefer(scheme)
			require.Equal(t, "[]", admin.eval(`
				await Promise.all(document.getAnimations().map((a) => a.finished.catch(() => {})));
				const result = await axe.run();
				return result.violations.flatMap((v) => v.nodes.map((n) => v.id + ' ' + n.target + ': ' + n.failureSummary))`), "%s, %s", place, scheme)
		}
	}
	admin.eval(string(axe))
	admin.logIn("admin", "guessed")
	admin.atField("login-password", "The name or the password is wrong.")
	for _, width := range widths {
		admin.resize(width)
		check("entrance")
	}
	admin.comeIn("admin")
	admin.say("hello")
	admin.pick("At lunch")
	admin.everywhere("At lunch", check)
	require.Equal(t, `["log","status","status","status","alert"]`, admin.eval(`return [
		$('scroller'), $('toasts'), $('connection'), $('meanwhile'), document.querySelector('#edit .whole'),
	].map((e) => e.getAttribute('role'))`))

	admin.click(`$('add')`)
	admin.submit("edit")
	admin.atField("edit-name", "Enter a name.")
	check("an error in the editor")
	admin.eval(`$('editor').close()`)
	c.stop()
	admin.until(`$('connection').textContent !== ''`)
	admin.fill("say-text", "hello")
	admin.submit("say")
	admin.until(`document.querySelector('#say .whole').textContent !== ''`)
	check("without a server")
}
