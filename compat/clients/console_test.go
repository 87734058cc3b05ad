package clients

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// admin is somebody at the console, in a browser with cookies of its own.
type admin struct{ person }

// console opens the console of the daemon, which runs.
func console(t *testing.T, b *tab, d *daemon) *admin {
	t.Helper()
	return consoleAt(t, b, "http://"+d.addr+"/")
}

func consoleAt(t *testing.T, b *tab, url string) *admin {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx))
	a := &admin{person{tab: &tab{t, ctx}}}
	a.resize(1280)
	a.open(url)
	return a
}

func (a *admin) open(url string) {
	a.t.Helper()
	a.person.open(url)
	a.eval(`
		window.named = (text) => [...document.querySelectorAll('button')].find((b) => b.textContent.trim() === text || b.ariaLabel === text);
		window.rowOf = (name) => [...document.querySelectorAll('#rows tr')].find((tr) => tr.querySelector('bdi').title === name);
		window.opens = (name) => rowOf(name)?.querySelector('button');
		window.said = (text) => document.querySelector('.toasts').innerText.includes(text);
		window.names = () => [...document.querySelectorAll('#rows bdi')].map((b) => b.title);
		window.dialog = () => document.querySelector('dialog');
		window.inDialog = (text) => [...dialog().querySelectorAll('button')].find((b) => b.textContent.trim() === text);`)
}

// enter signs in, and waits for the number of rows, or for the sign that there are none.
func (a *admin) enter(who login, rows int) *admin {
	a.t.Helper()
	a.until(`document.activeElement?.id === 'userId'`)
	a.fill("userId", who.userID)
	a.fill("authToken", who.token)
	a.submit("sign-in")
	a.until(`$('filter') !== null && !document.querySelector('.skeleton')`)
	a.until(fmt.Sprintf(`document.querySelectorAll('#rows tr').length === %d`, rows))
	return a
}

// edit opens the panel of a status, or of a new one.
func (a *admin) edit(name string) {
	a.t.Helper()
	if name == "" {
		a.click(`$('new')`)
	} else {
		a.click(`opens(` + quote(name) + `)`)
	}
	a.until(`dialog()?.open && document.activeElement.id === 'edit-name'`)
}

// save saves what the panel has, and waits for its end.
func (a *admin) save() {
	a.t.Helper()
	a.submit("edit")
	a.until(`!dialog()`)
}

// remove deletes a status, which can be undone for some seconds.
func (a *admin) remove(name string) {
	a.t.Helper()
	a.edit(name)
	a.click(`inDialog('Delete')`)
	a.until(`dialog().role === 'alertdialog'`)
	a.click(`inDialog('Delete')`)
	a.until(`!dialog() && !rowOf(` + quote(name) + `)`)
}

// take gives the page a file, as the dialog of the browser would.
func (a *admin) take(name, text string) {
	a.t.Helper()
	a.eval(`
		const files = new DataTransfer();
		files.items.add(new File([args[1]], args[0]));
		$('file').files = files.files;
		$('file').dispatchEvent(new Event('change', { bubbles: true }))`, name, text)
	a.until(`dialog()?.querySelector('.counts, .error') != null`)
}
