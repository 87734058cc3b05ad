package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestPage uses the page in a browser, as an admin and as somebody else.
func TestPage(t *testing.T) {
	b := startBrowser(t)
	s := start(t, t.TempDir())
	admin, alice := b.open(s.url), b.open(s.url)

	// A wrong password shows an error, and the page stays.
	alice.login("alice", "guessed")
	alice.wait(`document.querySelector('#login .error').textContent === 'Unauthorized'`)

	alice.login("alice", s.passwords["alice"])
	admin.login("admin", s.passwords["admin"])
	for _, p := range []*page{alice, admin} {
		p.wait(`!$('chat').hidden && $('login').hidden`)
		p.wait(`$('people').children.length === 3 && $('pick').options.length === 5`)
	}
	alice.wait(`$('admin').hidden`)
	admin.wait(`!$('admin').hidden && $('statuses').children.length === 4`)

	// The admin adds a status, and alice picks it.
	admin.do(`$('create').elements.name.value = 'In the lab'; $('create').requestSubmit()`)
	alice.wait(`$('pick').options.length === 6`)
	alice.do(`$('pick').value = [...$('pick').options].find((o) => o.text === 'In the lab').value;
		$('pick').dispatchEvent(new Event('change'))`)
	alices := `[...$('people').children].find((li) => li.textContent.startsWith('alice'))`
	admin.wait(alices + `.textContent === 'aliceIn the lab' && ` + alices + `.querySelector('.dot.busy')`)

	// The admin renames the status. (The page gets statuses and people by two streams.)
	admin.wait(`[...$('statuses').children].some((li) => li.textContent.startsWith('In the lab'))`)
	admin.do(`window.prompt = () => 'In the garden';
		[...$('statuses').children].find((li) => li.textContent.startsWith('In the lab')).querySelectorAll('button')[0].click()`)
	for _, p := range []*page{alice, admin} {
		p.wait(alices + `.textContent === 'aliceIn the garden'`)
	}
	alice.wait(`$('pick').selectedOptions[0].text === 'In the garden'`)

	// A name that the rules refuse shows an error.
	admin.do(`$('create').elements.name.value = 'In the garden'; $('create').requestSubmit()`)
	admin.wait(`document.querySelector('aside .error').textContent.includes('already in use')`)

	// A message is shown exactly as it was written.
	text := `<img src="x" onerror="document.title = 'broken'"> & more`
	alice.do(`$('say').elements.text.value = ` + quote(text) + `; $('say').requestSubmit()`)
	for _, p := range []*page{alice, admin} {
		p.wait(`$('messages').lastChild?.textContent === 'alice' + ` + quote(text))
		p.wait(`document.images.length === 0 && document.title === 'Chat'`)
	}

	// The admin deletes the status: alice falls back to none.
	admin.wait(`[...$('statuses').children].some((li) => li.textContent.startsWith('In the garden'))`)
	admin.do(`[...$('statuses').children].find((li) => li.textContent.startsWith('In the garden')).querySelectorAll('button')[1].click()`)
	for _, p := range []*page{alice, admin} {
		p.wait(alices + `.textContent === 'alice' && $('pick').options.length === 5`)
	}
	alice.wait(`$('pick').value === ''`)

	alice.do(`$('logout').click()`)
	alice.wait(`$('chat').hidden && !$('login').hidden`)

	for _, complaint := range b.complaints {
		// The browser logs every refusal of the server.
		if !strings.Contains(complaint, "the server responded with a status of 40") {
			t.Errorf("the browser complains: %s", complaint)
		}
	}
}

func quote(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// browser is a Chromium that a test drives by the DevTools protocol.
type browser struct {
	t          *testing.T
	commands   io.Writer
	answers    *bufio.Reader
	last       int
	complaints []string // errors in the console
}

// startBrowser starts the browser of this machine, or skips the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Skip("no Chromium on this machine: the page is not tried in a browser")
	}
	args := []string{
		"--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--user-data-dir=" + t.TempDir(), "--remote-debugging-pipe",
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // with a sandbox it refuses to start as root
	}
	commandsOut, commandsIn := pipe(t)
	answersOut, answersIn := pipe(t)
	cmd := exec.Command(program, append(args, "about:blank")...)
	cmd.ExtraFiles = []*os.File{commandsOut, answersIn} // file descriptors 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	commandsOut.Close()
	answersIn.Close()
	b := &browser{t: t, commands: commandsIn, answers: bufio.NewReader(answersOut)}
	t.Cleanup(func() {
		b.command("", "Browser.close", nil, nil)
		commandsIn.Close()
		_, _ = io.Copy(io.Discard, answersOut)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the browser ended with %v", err)
		}
	})
	if err := answersOut.SetReadDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	return b
}

func pipe(t *testing.T) (out, in *os.File) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close(); in.Close() })
	return out, in
}

// command sends a command to the browser and decodes the result.
func (b *browser) command(session, method string, params map[string]any, result any) {
	b.t.Helper()
	b.last++
	message := map[string]any{"id": b.last, "method": method}
	if params != nil {
		message["params"] = params
	}
	if session != "" {
		message["sessionId"] = session
	}
	data, err := json.Marshal(message)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.commands.Write(append(data, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		data, err := b.answers.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		var answer struct {
			ID            int
			Method        string
			Params        json.RawMessage
			Result, Error json.RawMessage
		}
		if err := json.Unmarshal(data[:len(data)-1], &answer); err != nil {
			b.t.Fatal(err)
		}
		switch {
		case answer.Method == "Log.entryAdded" && strings.Contains(string(answer.Params), `"level":"error"`),
			answer.Method == "Runtime.exceptionThrown":
			b.complaints = append(b.complaints, string(answer.Params))
		case answer.ID == b.last && answer.Error != nil:
			b.t.Fatalf("%s: %s", method, answer.Error)
		case answer.ID == b.last:
			if result != nil {
				if err := json.Unmarshal(answer.Result, result); err != nil {
					b.t.Fatal(err)
				}
			}
			return
		}
	}
}

// page is one tab.
type page struct {
	*browser
	session string
}

func (b *browser) open(url string) *page {
	b.t.Helper()
	var target struct{ TargetID string }
	b.command("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.command("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p := &page{b, attached.SessionID}
	for _, domain := range []string{"Log.enable", "Runtime.enable", "Page.enable"} {
		b.command(p.session, domain, nil, nil)
	}
	b.command(p.session, "Page.navigate", map[string]any{"url": url}, nil)
	p.wait(`document.readyState === 'complete' && location.href.startsWith(` + quote(url) + `)`)
	return p
}

// do runs a script in the page.
func (p *page) do(script string) {
	p.t.Helper()
	var result struct {
		ExceptionDetails json.RawMessage
		Result           struct{ Value json.RawMessage }
	}
	p.command(p.session, "Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true}, &result)
	if result.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s", script, result.ExceptionDetails)
	}
}

// wait waits until the condition holds in the page.
func (p *page) wait(condition string) {
	p.t.Helper()
	p.do(fmt.Sprintf(`new Promise((holds, fails) => {
		const end = Date.now() + %d;
		const look = () => {
			if (%s) return holds();
			if (Date.now() > end) return fails(new Error('still not so: ' + document.body.innerText));
			setTimeout(look, 10);
		};
		look();
	})`, patience.Milliseconds(), condition))
}

func (p *page) login(user, password string) {
	p.t.Helper()
	p.do(fmt.Sprintf(`{
		const fields = document.getElementById('login').elements;
		fields.user.value = %s;
		fields.password.value = %s;
		document.getElementById('login').requestSubmit();
	}`, quote(user), quote(password)))
}
