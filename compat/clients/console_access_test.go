package clients

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// All that the console is for can be done without a mouse.
func TestConsoleKeyboard(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	d := newDaemon(t)
	d.start()
	a := console(t, b, d)
	a.until(`document.activeElement?.id === 'userId'`)
	a.press(d.admin.userID, kb.Tab, d.admin.token, kb.Enter)
	a.until(`$('new') && !$('new').disabled`)
	a.resize(375)
	a.tabTo(`$('new')`)
	a.press(kb.Enter)
	a.until(`document.activeElement?.id === 'edit-name'`)
	a.press("Typed", kb.Tab, kb.ArrowDown, kb.Enter) // from busy to offline
	a.until(`!dialog() && rowOf('Typed')?.innerText.includes('Offline') && document.activeElement === $('new')`)
	a.tabTo(`opens('Typed')`)
	a.press(kb.Enter)
	a.until(`document.activeElement?.id === 'edit-name'`)
	a.press(kb.Escape)
	a.until(`!dialog() && document.activeElement === opens('Typed')`)
	a.press(kb.Enter)
	a.until(`document.activeElement?.id === 'edit-name'`)
	a.tabTo(`inDialog('Delete')`)
	a.press(" ")
	a.until(`dialog()?.role === 'alertdialog'`)
	a.tabTo(`inDialog('Delete')`)
	a.press(" ")
	a.until(`!rowOf('Typed') && document.activeElement === $('filter')`)
	a.tabTo(`document.querySelector('.toasts').querySelector('[aria-label=Close]')`)
	a.press(kb.Enter)
	a.until(`!said('Typed')`)
	d.stop()
}

// axe-core finds nothing in any state, at any width, light or dark, and no name of 120
// letters makes the page wider.
func TestConsoleAccessible(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	npmInstall(t, dir)
	axe, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	require.NoError(t, err)
	b := newBrowser(t)
	d := newDaemon(t)
	d.start()
	a := console(t, b, d)
	a.eval(string(axe))
	runs := 0
	check := func(place string) {
		t.Helper()
		for i, width := range consoleWidths {
			a.resize(width)
			a.prefer([]string{"light", "dark", "light"}[i])
			require.Equal(t, "[]", a.eval(`
				await Promise.all(document.getAnimations().map((a) => a.effect.getTiming().iterations === Infinity ? 0 : a.finished.catch(() => {})));
				const result = await axe.run();
				return result.violations.flatMap((v) => v.nodes.map((n) => v.id + ' ' + n.target + ': ' + n.failureSummary))`), "%s at %d", place, width)
			require.Equal(t, "true", a.eval(`return document.documentElement.scrollWidth <= innerWidth && [...document.querySelectorAll('dialog, .preview')].every((e) => e.scrollWidth <= e.clientWidth + 1)`), "%s at %d", place, width)
			require.Equal(t, "true", a.eval(`const h = document.querySelector('h1'); return h.scrollWidth <= h.clientWidth`), "the title at %d", width)
			runs++
		}
		a.prefer("dark")
	}
	a.until(`document.activeElement?.id === 'userId'`)
	a.submit("sign-in")
	a.atField("userId", "Enter your user id.")
	check("sign-in")
	a.enter(d.newLogin("4j74imgeq4tz4pvkm"), 0) // as long as the one of a first start
	check("empty")
	long := strings.Repeat("W", 120)
	d.create(long)
	for _, name := range []string{"Lunch :pizza:", "خارج المكتب"} {
		d.create(name)
	}
	a.until(`names().length === 3`)
	check("table")
	a.fill("filter", "nothing of this name")
	a.until(`document.querySelector('.state')`)
	check("nothing found")
	a.fill("filter", "")
	a.until(`names().length === 3`)
	a.edit(long)
	a.fill("edit-name", "Lunch :pizza:")
	a.submit("edit")
	a.atField("edit-name", "Another status has this name. Choose a different one.")
	check("editor")
	a.click(`inDialog('Delete')`)
	a.until(`dialog().role === 'alertdialog'`)
	check("question")
	a.click(`inDialog('Delete')`)
	a.until(`said('WWW')`)
	a.eval(`document.querySelector('.toast').dispatchEvent(new Event('mouseenter'))`)
	check("message")
	a.click(`named('Undo')`)
	a.take("x.json", `[{"name":"`+long+`","statusType":"away"},{"name":"<b>","statusType":"busy"},{"name":"New","statusType":"offline"}]`)
	check("import")
	a.click(`inDialog('Cancel')`)
	d.stop()
	a.until(`$('connection').textContent !== ''`)
	check("without a server")
	t.Attr("axe-runs-without-violations", strconv.Itoa(runs))
}
