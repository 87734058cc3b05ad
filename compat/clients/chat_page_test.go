package clients

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// widths are those of a phone, a tablet and a desktop, in pixels.
var widths = []int64{360, 768, 1280}

// everywhere calls visit in each view and each dialog of an admin's page, at each width.
// The editor and the dialog that deletes are those of the status with the name.
func (p *person) everywhere(status string, visit func(place string)) {
	p.t.Helper()
	for _, width := range widths {
		p.resize(width)
		at := func(place string) { visit(fmt.Sprintf("%s at %d", place, width)) }
		for _, view := range []string{"room", "people", "admin"} {
			p.eval(`document.querySelector('[data-shows=' + args[0] + ']').click()`, view)
			at(view)
		}
		for dialog, opener := range map[string]string{
			"picker":  `$('pick')`,
			"editor":  `button(row('statuses', ` + quote(status) + `), 'Edit')`,
			"remover": `button(row('statuses', ` + quote(status) + `), 'Delete')`,
		} {
			p.click(opener)
			p.until(`$('` + dialog + `').open`)
			at(dialog)
			p.eval(`$(args[0]).close()`, dialog)
		}
	}
	p.resize(1280)
}

// overflows returns what is wider than the page or than what it is in, and where a name
// is cut without saying the whole name on hover.
const overflows = `
	const name = args[0], wrong = [];
	const whole = document.documentElement;
	if (whole.scrollWidth > innerWidth) wrong.push('the page is ' + whole.scrollWidth + ' wide');
	for (const e of document.body.querySelectorAll('*')) {
		const box = e.getBoundingClientRect(), style = getComputedStyle(e);
		if (!shown(e) || box.width <= 1) continue; // what only screen readers see is a pixel wide
		const what = e.tagName + ' ' + (e.id || e.className);
		if (box.right > innerWidth + 1 || box.left < -1) wrong.push(what + ' sticks out of the page');
		if (e.scrollWidth > e.clientWidth + 1 && style.overflowX !== 'visible' && style.textOverflow !== 'ellipsis' && e.tagName !== 'INPUT') wrong.push(what + ' can be scrolled sideways');
		if (e.childElementCount > 0 || !e.textContent.includes(name)) continue;
		const cut = style.overflow !== 'visible' && (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1);
		if (cut && !(e.title.includes(name))) wrong.push(what + ' hides a part of the name');
	}
	return wrong`

// A name of 120 letters breaks nobody's page: it wraps, or is cut and shown on hover.
func TestChatLongName(t *testing.T) {
	t.Parallel()
	c := newChat(t)
	b := newBrowser(t)
	admin, alice := c.person(b).comeIn("admin"), c.person(b).comeIn("alice")
	long := strings.Repeat("W", 120)
	admin.create(long, "busy")
	for _, p := range []*person{admin, alice} {
		p.until(`$('choices').children.length === 6`)
		p.pick(long)
	}
	alice.say(long)
	admin.until(`$('messages').textContent.includes(` + quote(long) + `) && row('people', 'Aalice').textContent.includes(` + quote(long) + `)`)
	admin.everywhere(long, func(place string) {
		require.Equal(t, "[]", admin.eval(overflows, long), place)
		if strings.HasPrefix(place, "editor") {
			require.Equal(t, quote(long), admin.eval(`return $('edit-name').value`))
		}
	})

	admin.click(`button(row('statuses', 'WWW'), 'Delete')`)
	admin.submit("remove")
	for _, p := range []*person{admin, alice} {
		p.until(`toasted('deleted') && toasted(` + quote(long) + `)`)
		for _, width := range widths {
			p.resize(width)
			require.Equal(t, "[]", p.eval(overflows, long), "toast at %d", width)
		}
	}
	c.stop()
}

// Deleting asks first, and can be called off.
func TestChatDeleteAsks(t *testing.T) {
	t.Parallel()
	c := newChat(t)
	b := newBrowser(t)
	admin, alice := c.person(b).comeIn("admin"), c.person(b).comeIn("alice")
	alice.pick("At lunch")
	admin.until(`row('people', 'Aalice').textContent.includes('At lunch')`)
	for _, width := range widths {
		admin.resize(width)
		admin.eval(`document.querySelector('[data-shows=admin]').click()`)
		for name, callOff := range map[string]func(){
			"button": func() { admin.click(`button($('remover'), 'Cancel')`) },
			"key":    func() { admin.press(kb.Escape) },
		} {
			admin.click(`button(row('statuses', 'At lunch'), 'Delete')`)
			admin.until(`$('remover').open && $('remover').matches(':modal')`)
			require.Equal(t, `"Cancel"`, admin.eval(`return document.activeElement.textContent`), name)
			require.Contains(t, admin.eval(`return $('remover').innerText`), "“At lunch” can’t be brought back. One person shows it")
			callOff()
			admin.until(`!$('remover').open`)
			require.Equal(t, `"Delete At lunch"`, admin.eval(`return document.activeElement.ariaLabel`), "the focus is where it was")
			require.Equal(t, `4`, admin.eval(`return (await (await fetch('/api/v1/custom-user-status.list')).json()).total`))
		}
	}
	admin.eval(`button(row('statuses', 'At lunch'), 'Delete').focus()`)
	admin.press(kb.Enter)
	admin.until(`$('remover').open`)
	admin.press(kb.Tab, kb.Enter)
	admin.until(`!row('statuses', 'At lunch') && !$('remover').open && toasted('The status is deleted: At lunch')`)
	admin.until(`document.activeElement === $('statuses')`)
	alice.until(`$('pick-name').textContent === 'Set a status' && toasted('Your status was deleted.')`)
	c.stop()
}

// An admin edits the name and the type of a status in one form.
func TestChatEdit(t *testing.T) {
	t.Parallel()
	c := newChat(t)
	b := newBrowser(t)
	admin, alice := c.person(b).comeIn("admin"), c.person(b).comeIn("alice")
	require.Equal(t, `true`, alice.eval(`return $('admin').hidden && $('admin-view').hidden`))
	alice.pick("At lunch")
	for i, width := range widths {
		admin.resize(width)
		admin.eval(`document.querySelector('[data-shows=admin]').click()`)
		old, name, statusType := []string{"At lunch", "Out 0", "Out 1"}[i], fmt.Sprint("Out ", i), []string{"busy", "online", "offline"}[i]
		admin.click(`button(row('statuses', ` + quote(old) + `), 'Edit')`)
		admin.until(`$('editor').open`)
		require.Equal(t, quote(old), admin.eval(`return $('edit-name').value`))
		admin.fill("edit-name", name)
		admin.click(`document.querySelector('#edit [value=` + statusType + `]')`)
		admin.click(`$('save')`)
		admin.until(`!$('editor').open && toasted('The status is saved: ` + name + `')`)
		require.Equal(t, `""`, admin.eval(`return $('meanwhile').textContent`), "one's own change is no news")
		alice.until(`$('pick-name').textContent === ` + quote(name) + ` && row('people', 'Aalice').querySelector('.dot.` + statusType + `')`)
	}
	admin.click(`$('add')`)
	admin.until(`$('editor').open`)
	admin.fill("edit-name", "In the lab")
	admin.press(kb.Enter)
	alice.until(`row('choices', 'In the lab')?.querySelector('.dot.busy')`)
	c.stop()
}

// A reload keeps the login, in a cookie that scripts can't read, until one logs out.
func TestChatReload(t *testing.T) {
	t.Parallel()
	c := newChat(t)
	alice := c.person(newBrowser(t)).comeIn("alice")
	alice.open("http://" + c.addr)
	alice.until(`!$('chat').hidden && $('people').children.length === 3 && $('me').textContent === 'alice'`)
	require.Equal(t, `["",0,0]`, alice.eval(`return [document.cookie, localStorage.length, sessionStorage.length]`))

	alice.click(`$('logout')`)
	alice.until(`$('chat').hidden && $('notice').textContent === 'You have logged out.'`)
	alice.open("http://" + c.addr)
	alice.until(`!$('entrance').hidden && $('chat').hidden`)
	require.Equal(t, `401`, alice.eval(`return (await fetch('/api/v1/custom-user-status.list')).status`))

	// A server that starts again has no sessions.
	alice.comeIn("alice")
	alice.fill("say-text", "a draft")
	c.stop()
	alice.until(`$('connection').textContent.includes('connection is lost')`)
	c.start()
	alice.until(`!$('entrance').hidden && $('notice').textContent === 'Your login has ended. Please log in again.'`)
	require.Equal(t, `"login-user"`, alice.eval(`return document.activeElement.id`))
	alice.comeIn("alice")
	require.Equal(t, `["a draft",""]`, alice.eval(`return [$('say-text').value, $('connection').textContent]`))
	c.stop()
}

// atField waits for an error at a field, which has the focus and says the error to a
// screen reader.
func (p *person) atField(field, text string) {
	p.t.Helper()
	p.until(`$('` + field + `-error').textContent === ` + quote(text))
	require.Equal(p.t, `[true,"true",true]`, p.eval(`
		const field = $(args[0]), error = $(args[0] + '-error');
		return [document.activeElement === field, field.getAttribute('aria-invalid'),
			field.getAttribute('aria-describedby').split(' ').includes(error.id) && shown(error)]`, field))
}

// What is refused is told in plain sentences, at the field that is meant.
func TestChatErrors(t *testing.T) {
	t.Parallel()
	c := newChat(t)
	b := newBrowser(t)
	admin := c.person(b)
	admin.submit("login")
	admin.atField("login-user", "Enter your name.")
	admin.logIn("admin", "guessed")
	admin.atField("login-password", "The name or the password is wrong.")
	admin.logIn("nobody", "guessed")
	admin.atField("login-password", "The name or the password is wrong.")
	admin.comeIn("admin")
	for _, width := range widths {
		admin.resize(width)
		admin.eval(`document.querySelector('[data-shows=admin]').click()`)
		admin.click(`$('add')`)
		for name, text := range map[string]string{
			"":                       "Enter a name.",
			"  ":                     "Enter a name.",
			"At lunch":               "Another status has this name. Choose a different one.",
			"R&D <b>":                "A name can’t contain &, <, or >.",
			"a\u0000b":               "A name can’t contain invisible control characters.",
			strings.Repeat("W", 121): "A name has at most 120 characters; this one has 121.",
		} {
			admin.fill("edit-name", "")
			if name == "a\u0000b" { // no key types it
				admin.eval(`$('edit-name').value = args[0]; $('edit-name').focus()`, name)
			} else {
				admin.fill("edit-name", name)
			}
			admin.submit("edit")
			admin.atField("edit-name", text)
			require.Equal(t, quote(name), admin.eval(`return $('edit-name').value`), "what was typed is still there")
			require.Equal(t, "[]", admin.eval(overflows, "W"))
		}
		admin.eval(`$('editor').close()`)
	}
	admin.eval(`document.querySelector('[data-shows=room]').click()`)
	admin.submit("say")
	admin.atField("say-text", "Write something first.")
	admin.fill("say-text", strings.Repeat("x", 2001))
	admin.submit("say")
	admin.atField("say-text", "A message has at most 2000 characters.")
	require.NotRegexp(t, `error-|Custom_User_Status|Unauthorized|\[`, admin.eval(`return document.body.innerText`))

	// The server is gone: what was written stays.
	c.stop()
	admin.fill("say-text", "hello")
	admin.submit("say")
	admin.until(`document.querySelector('#say .whole').textContent === 'The server can’t be reached. Check your connection, and try again.'`)
	require.Equal(t, `"hello"`, admin.eval(`return $('say-text').value`))
	admin.until(`$('connection').textContent === 'The connection is lost. Trying again…'`)
	admin.click(`$('logout')`)
	admin.until(`toasted('The server can’t be reached')`)
	require.Equal(t, `true`, admin.eval(`return $('entrance').hidden`), "still logged in")
}

// What others change shows at once, and leaves alone what somebody is typing.
func TestChatLive(t *testing.T) {
	t.Parallel()
	c := newChat(t)
	b := newBrowser(t)
	admin, other, alice := c.person(b).comeIn("admin"), c.person(b).comeIn("admin"), c.person(b).comeIn("alice")
	rename := func(from, to string) {
		other.click(`button(row('statuses', ` + quote(from) + `), 'Edit')`)
		other.fill("edit-name", to)
		other.submit("edit")
		other.until(`!$('editor').open && row('statuses', ` + quote(to) + `)`)
	}

	admin.click(`button(row('statuses', 'At lunch'), 'Edit')`)
	admin.fill("edit-name", "At a late lu")
	alice.fill("say-text", "a half senten")
	rename("At lunch", "Away for lunch")
	other.say("hello")
	for _, p := range []*person{admin, alice} {
		p.until(`$('messages').textContent.includes('hello') && row('choices', 'Away for lunch')`)
	}
	require.Equal(t, `["a half senten","say-text"]`, alice.eval(`return [$('say-text').value, document.activeElement.id]`))
	admin.until(`$('meanwhile').textContent === 'Somebody else has changed this status. It is “Away for lunch” (Away) now. Saving replaces that.'`)
	require.Equal(t, `["At a late lu","edit-name",12]`, admin.eval(`return [$('edit-name').value, document.activeElement.id, $('edit-name').selectionStart]`))
	admin.submit("edit")
	alice.until(`row('choices', 'At a late lu')`)

	// The focus stays with a row that moves, and a deleted row leaves it in the list.
	admin.until(`row('statuses', 'At a late lu') && !$('editor').open`)
	admin.eval(`button(row('statuses', 'At a late lu'), 'Edit').focus()`)
	rename("At a late lu", "Zzz")
	admin.until(`document.activeElement.ariaLabel === 'Edit Zzz' && $('statuses').lastChild.contains(document.activeElement)`)
	admin.press(kb.Enter)
	admin.fill("edit-name", "Yyy")
	other.click(`button(row('statuses', 'Zzz'), 'Delete')`)
	other.submit("remove")
	admin.until(`$('meanwhile').textContent === 'Somebody else has deleted this status.' && $('save').disabled`)
	require.Equal(t, `"Yyy"`, admin.eval(`return $('edit-name').value`))
	admin.press(kb.Escape)
	admin.until(`!$('editor').open && document.activeElement === $('statuses')`)

	// Who is asked whether to delete what somebody else deletes need not answer.
	admin.click(`button(row('statuses', 'On vacation'), 'Delete')`)
	admin.until(`$('remover').open`)
	other.click(`button(row('statuses', 'On vacation'), 'Delete')`)
	other.submit("remove")
	admin.until(`!$('remover').open && toasted('Somebody else has deleted this status: On vacation')`)
	c.stop()
}
