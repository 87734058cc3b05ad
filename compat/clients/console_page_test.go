package clients

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// consoleWidths are those of a phone, a tablet and a desktop, in pixels.
var consoleWidths = []int64{375, 768, 1280}

// Two people at two browsers do everything, and each sees at once what the other does.
func TestConsoleTogether(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	d := newDaemon(t)
	d.start()
	one := console(t, b, d)
	watch := one.watch()
	one.enter(d.admin, 0)
	two := console(t, b, d).enter(d.admin, 0)
	require.Contains(t, one.eval(`return document.querySelector('.state').innerText`), "No statuses yet")

	// Create, with errors at the field on the way.
	one.edit("")
	one.submit("edit")
	one.atField("edit-name", "Enter a name.")
	for name, text := range map[string]string{
		"R&D <b>":                "A name can’t contain <, >, &, \" or '.",
		strings.Repeat("W", 121): "A name has at most 120 characters; this one has 121.",
	} {
		one.fill("edit-name", name)
		one.submit("edit")
		one.atField("edit-name", text)
		require.Equal(t, quote(name), one.eval(`return $('edit-name').value`), "what was typed is still there")
	}
	one.fill("edit-name", "Lunch :pizza:")
	one.until(`$('edit-name-hint').textContent.includes('Shows as Lunch 🍕')`)
	one.eval(`document.querySelector('[value=away]').click()`)
	one.save()
	one.until(`said('“Lunch 🍕” is added.')`)
	for _, a := range []*admin{one, two} {
		a.until(`rowOf('Lunch :pizza:')?.innerText.includes('Lunch 🍕') && rowOf('Lunch :pizza:').innerText.includes('Away')`)
	}
	d.create("Meeting")
	two.until(`names().join() === 'Lunch :pizza:,Meeting'`)

	// Edit: the name is taken, then somebody else changes and deletes what is edited.
	one.edit("Meeting")
	one.fill("edit-name", "Lunch :pizza:")
	one.submit("edit")
	one.atField("edit-name", "Another status has this name. Choose a different one.")
	two.edit("Meeting")
	two.fill("edit-name", "In a meeting")
	two.save()
	one.until(`document.querySelector('dialog .notice').textContent.startsWith('Somebody else has changed this status. It is “In a meeting” (Busy) now.')`)
	one.fill("edit-name", "At a meeting")
	one.save()
	two.until(`names().join() === 'At a meeting,Lunch :pizza:'`)

	// Delete: a question, a no, a yes, and an undo.
	one.edit("At a meeting")
	one.click(`inDialog('Delete')`)
	one.until(`dialog().role === 'alertdialog' && document.activeElement.textContent === 'Cancel'`)
	one.press(kb.Escape)
	one.until(`!dialog()`)
	for _, undo := range []bool{true, false} {
		one.remove("At a meeting")
		one.until(`said('“At a meeting” is deleted.')`)
		require.Equal(t, `true`, two.eval(`return rowOf('At a meeting') !== undefined`), "not before the time to undo is over")
		if undo {
			one.click(`named('Undo')`)
			one.until(`rowOf('At a meeting') && !said('is deleted')`)
			continue
		}
		two.edit("At a meeting")
		two.fill("edit-name", "Anything")
		one.click(`document.querySelector('.toasts').querySelector('[aria-label=Close]')`)
	}
	two.until(`document.querySelector('dialog .notice').textContent === 'Somebody else has deleted this status.' && inDialog('Save').disabled`)
	require.Equal(t, `"Anything"`, two.eval(`return $('edit-name').value`))
	two.press(kb.Escape)
	two.until(`!dialog() && names().join() === 'Lunch :pizza:'`)

	// A status that somebody changes while it waits for its delete stays.
	one.remove("Lunch :pizza:")
	two.edit("Lunch :pizza:")
	two.fill("edit-name", "Late lunch")
	two.save()
	one.until(`rowOf('Late lunch') && said('because somebody else has just changed it')`)

	// A restart is survived: the page says so, and comes back by itself.
	d.stop()
	one.until(`$('connection').textContent.startsWith('The connection is lost')`)
	one.edit("")
	one.fill("edit-name", "Gym")
	one.submit("edit")
	one.until(`document.querySelector('#edit .whole').textContent.startsWith('The server can’t be reached.')`)
	d.start()
	d.create("Back")
	one.until(`$('connection').textContent === '' && rowOf('Back')`)
	require.Equal(t, `"Gym"`, one.eval(`return $('edit-name').value`))
	one.save()
	two.until(`rowOf('Gym')`)

	// The name of a status that waits for its delete is free at once: for a new one, and in
	// an import, whose preview doesn't count it.
	one.remove("Gym")
	one.edit("")
	one.fill("edit-name", "Gym")
	one.save()
	two.until(`rowOf('Gym')?.innerText.includes('Busy')`)
	one.until(`rowOf('Gym')`)
	one.remove("Gym")
	one.take("gym.json", `{"name":"Gym","statusType":"away"}`)
	require.Equal(t, `"1 new"`, one.eval(`return dialog().querySelector('.counts').innerText`))
	one.click(`inDialog('Import 1')`)
	one.until(`dialog().innerText.includes('1 of 1 statuses are written.')`)
	one.click(`inDialog('Close')`)
	two.until(`rowOf('Gym')?.innerText.includes('Away')`)
	one.until(`rowOf('Gym')`)

	// Leaving the page makes a delete happen at once.
	one.remove("Gym")
	one.open("http://" + d.addr + "/")
	two.until(`!rowOf('Gym')`)
	one.until(`document.querySelectorAll('#rows tr').length === 2`)

	requests, troubles := watch.seen()
	for _, r := range requests {
		require.True(t, strings.HasPrefix(r, "http://"+d.addr+"/"), r)
	}
	for _, trouble := range troubles {
		require.Contains(t, trouble, "ERR_", "only the connection was in trouble")
	}

	// Signing out, here and by the end of the token. A delete that waits is made before.
	one.remove("Back")
	one.click(`$('sign-out')`)
	one.until(`document.querySelector('.entrance .notice')?.textContent === 'You have signed out.'`)
	two.until(`names().join() === 'Late lunch'`)
	d.do("token", "revoke", "--user", "admin")
	two.until(`document.querySelector('.entrance .notice')?.textContent === 'Your session has ended. Please sign in again.'`)
	one.fill("userId", "admin")
	one.fill("authToken", "guessed")
	one.submit("sign-in")
	one.atField("authToken", "The user id or the token is wrong.")
	d.stop()
}

// Filter, order and pages of ten thousand statuses, which an import of the console and the
// program have made.
func TestConsoleMany(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	d := newDaemon(t)
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, `{"name":"Status %05d","statusType":"%s"}`+"\n", i, []string{"online", "away", "busy", "offline"}[i%4])
	}
	many.WriteString(`{"name":"v1.2 a.b","statusType":"busy"}` + "\n" + `{"name":"a-b","statusType":"busy"}` + "\n")
	require.NoError(t, os.WriteFile(filepath.Join(d.dir, "many.jsonl"), []byte(many.String()), 0o600))
	d.do("import", "many.jsonl")
	d.start()
	a := console(t, b, d).enter(d.admin, 50)
	a.until(`document.querySelector('.count').textContent === '10,002 statuses'`)
	a.click(`named('Last page')`)
	a.until(`names().join() === 'Status 09999,v1.2 a.b' && document.querySelector('.at').textContent === '201 / 201'`)
	a.click(`named('Previous page')`)
	a.until(`names()[0] === 'Status 09949'`)
	a.eval(`const s = document.querySelector('select'); s.value = '100'; s.dispatchEvent(new Event('change', { bubbles: true }))`)
	a.until(`names().length === 100 && names()[0] === 'a-b'`)
	a.click(`named('Name↑')`)
	a.until(`names()[0] === 'v1.2 a.b' && document.querySelector('th.name').ariaSort === 'descending'`)
	a.click(`named('Type')`)
	a.until(`names()[0] === 'Status 00000' && names()[1] === 'Status 00004'`)

	a.fill("filter", "A.B")
	a.until(`names().join() === 'v1.2 a.b' && document.querySelector('.count').textContent === '1 found'`)
	a.fill("filter", ".*")
	a.until(`document.querySelector('.state')?.innerText.includes('Nothing found')`)
	a.click(`named('Clear the filter')`)
	a.until(`names().length === 100 && document.activeElement === $('filter') && $('filter').value === ''`)

	// Import: what would happen, then what has happened.
	a.take("more.json", `{"statuses":[{"name":"New one","statusType":"away"},{"name":"a-b","statusType":"away"},{"name":"Status 00000","statusType":"online"},
		{"name":"<script>","statusType":"busy"},{"name":"New one","statusType":"busy"},{"name":"No type"},{"name":"Odd","statusType":"gone"}]}`)
	require.Equal(t, `"4 can’t be imported|1 differs|1 new|1 already there"`, a.eval(`return [...dialog().querySelectorAll('.counts li')].map((li) => li.innerText).join('|')`))
	for _, why := range []string{"A name can’t contain <", "Status 1 of the file has this name, too.", "It has no type.", "“gone” is no type.", "Left out It is “a-b” (busy) in the catalog."} {
		require.Contains(t, a.eval(`return dialog().querySelector('.preview').innerText.replaceAll('\u2068', '')`), why)
	}
	require.Equal(t, `["Import 1",10002]`, a.eval(`return [inDialog('Import 1').textContent, (await (await fetch('/api/v1/custom-user-status.list')).json()).total]`), "nothing is written yet")
	a.eval(`dialog().querySelector('[type=checkbox]').click()`)
	a.click(`inDialog('Import 2')`)
	a.until(`dialog().innerText.includes('2 of 2 statuses are written.')`)
	a.click(`inDialog('Close')`)
	a.fill("filter", "a-b")
	a.until(`rowOf('a-b')?.innerText.includes('Away')`)

	// Of many deletes at once, none is forgotten.
	a.fill("filter", "Status 0000")
	a.until(`names().length === 10`)
	for i := range 6 {
		name := fmt.Sprintf("Status %05d", i)
		a.remove(name)
	}
	a.until(`document.querySelectorAll('.toast').length === 0`)
	a.until(`fetch('/api/v1/custom-user-status.list?count=1').then((answer) => answer.json()).then((list) => list.total === 9997)`)
	a.fill("filter", "a-b")
	a.until(`rowOf('a-b')`)

	// A dropped file is taken, too; one that is no JSON is refused.
	a.eval(`
		const files = new DataTransfer();
		files.items.add(new File(['{"name":"x","statusType":"busy"}\nno'], 'bad.jsonl'));
		for (const type of ['dragover', 'drop']) document.body.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: files }))`)
	a.until(`dialog()?.querySelector('.error')?.textContent === 'This file can’t be imported. Line 2 is not JSON.'`)
	a.click(`inDialog('Close')`)

	// Export: the rows that the filter leaves, in a form that import takes.
	exported := a.eval(`
		const made = new Promise((resolve) => {
			const create = URL.createObjectURL;
			URL.createObjectURL = (blob) => { blob.text().then(resolve); return create(blob); };
		});
		$('export').click();
		return (await made).split('\n').map((line) => line && JSON.parse(line).name)`)
	require.Equal(t, `["a-b",""]`, exported)

	a.fill("filter", "")
	a.until(`names().length === 100`)
	took := a.eval(`
		const begin = performance.now();
		named('Name').click();
		await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
		return Math.round(performance.now() - begin)`)
	t.Attr("ms-to-sort-and-show-10000-statuses", took)
	d.stop()
}

// Names are text, whatever they have in them: no name makes an element or runs.
func TestConsoleMarkupIsText(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	d := newDaemon(t)
	d.start()
	markup := `<img src=x onerror=document.title=1>`
	plain := strings.Repeat("q", len(markup))
	proxy := rewriting(t, "http://"+d.addr, plain, markup)
	_, id := d.create(plain)
	a := consoleAt(t, b, proxy+"/")
	watch := a.watch()
	a.enter(d.admin, 1)
	a.until(`rowOf(` + quote(markup) + `)`)
	a.edit(markup)
	d.rename(id, plain+" 2")
	a.until(`document.querySelector('dialog .notice').textContent.includes(` + quote(markup) + `)`)
	a.fill("edit-name", "Harmless")
	a.save()
	d.rename(id, plain)
	a.edit(markup)
	a.click(`inDialog('Delete')`)
	a.until(`dialog().role === 'alertdialog' && dialog().innerText.includes(` + quote(markup) + `)`)
	a.click(`inDialog('Delete')`)
	a.until(`said(` + quote(markup) + `)`)
	a.take(markup+".json", `[{"name":`+quote(markup)+`,"statusType":`+quote(markup)+`}]`)
	require.Equal(t, `[1,0,"Custom statuses"]`, a.eval(`return [document.images.length, document.body.querySelectorAll('script').length, document.title]`), "one image: the page's own sign")
	_, troubles := watch.seen()
	require.Empty(t, troubles)
	require.Equal(t, `"TypeError"`, a.eval(`try { document.body.innerHTML = args[0]; } catch (e) { return e.name; }`, markup))

	// Pages of other origins get nothing, and can't show the console in a frame.
	for _, origin := range []string{page(t).URL, asLocalhost(page(t).URL)} {
		attacker := &admin{person{tab: a.newTab()}}
		attacker.open(origin)
		attacker.attack(d)
	}
	framing := &admin{person{tab: a.newTab()}}
	framing.open(page(t).URL)
	require.Equal(t, `true`, framing.eval(`
		const frame = document.createElement('iframe');
		frame.src = args[0];
		const loaded = new Promise((done) => { frame.onload = done; });
		document.body.append(frame);
		await loaded;
		return frame.contentDocument === null && frame.contentWindow.length === 0`, "http://"+d.addr+"/"))
	d.stop()
}

// Users who may not write, and a console that is read-only or off.
func TestConsoleReadOnly(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	readOnly := func(a *admin, who login) {
		t.Helper()
		a.enter(who, 1)
		require.Equal(t, `[true,null,null,0]`, a.eval(`return [document.querySelector('.chip').textContent === 'Read only', $('new'), $('import'), document.querySelectorAll('#rows button').length]`))
	}
	d := newDaemon(t)
	reader := d.newLogin("reader", "--read-only")
	d.start()
	d.create("Lunch")
	a := console(t, b, d)
	readOnly(a, reader)

	// An older backup takes the place of the database: the page shows what is there now.
	d.do("backup", "old.db")
	d.create("Lost")
	a.until(`rowOf('Lost')`)
	d.stop()
	require.NoError(t, os.Rename(filepath.Join(d.dir, "old.db"), filepath.Join(d.dir, "customstatus.db")))
	d.start()
	a.until(`names().join() === 'Lunch' && $('connection').textContent === ''`)
	d.stop()
	d.args = []string{"--console", "read-only"}
	d.start()
	readOnly(console(t, b, d), d.admin)
	d.stop()
	for _, off := range [][]string{{"--console", "off"}, {"--session-time", "0"}} {
		d.args = off
		d.start()
		answer, err := http.Get("http://" + d.addr + "/")
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusNotFound, answer.StatusCode)
		d.stop()
	}
}
