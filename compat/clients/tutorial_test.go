package clients

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// submit sends a form of the tutorial's page.
func (b *tab) submit(form string, fields map[string]string) {
	b.t.Helper()
	b.eval(`
		const form = document.getElementById(args[0]);
		for (const [name, value] of Object.entries(args[1])) form.elements[name].value = value;
		form.requestSubmit()`, form, fields)
}

// TestTutorial does in two browsers what docs/tutorial.md tells its reader to try.
func TestTutorial(t *testing.T) {
	t.Parallel()
	admin, ann := newBrowser(t), newBrowser(t)
	dir, addr := t.TempDir(), freeAddr(t)
	built, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "github.com/customstatus/customstatus/examples/tutorial").CombinedOutput()
	require.NoError(t, err, "%s", built)
	server := exec.Command(filepath.Join(dir, "tutorial"))
	server.Dir, server.Env = dir, append(os.Environ(), "CHAT_ADDR="+addr)
	out, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		require.NoError(t, server.Process.Signal(os.Interrupt))
		require.NoError(t, server.Wait())
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	_, password, found := strings.Cut(strings.TrimSpace(line), "the password of admin: ")
	require.True(t, found, line)
	url := "http://" + addr
	require.Eventually(t, func() bool {
		res, err := http.Get(url)
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	}, patience, 20*time.Millisecond)

	admin.open(url)
	admin.submit("login", map[string]string{"name": "admin", "password": "guessed"})
	admin.until(`document.getElementById('error').textContent.includes('another')`)
	admin.submit("login", map[string]string{"name": "admin", "password": password})
	admin.until(`!document.querySelector('main').hidden`)
	ann.open(url)
	ann.submit("login", map[string]string{"name": "Ann"})
	ann.until(`!document.querySelector('main').hidden`)

	admin.submit("create", map[string]string{"name": "Lunch", "statusType": "away"})
	ann.until(`[...document.getElementById('pick').options].some((o) => o.textContent === 'Lunch')`)
	ann.eval(`
		const pick = document.getElementById('pick');
		pick.value = [...pick.options].find((o) => o.textContent === 'Lunch').value;
		pick.dispatchEvent(new Event('change'))`)
	admin.until(`document.getElementById('people').textContent.includes('Ann: Lunch away')`)
	ann.submit("say", map[string]string{"text": "<b>bye</b>"})
	admin.until(`document.getElementById('messages').textContent.includes('Ann: <b>bye</b>')`)
	ann.submit("create", map[string]string{"name": "Gym", "statusType": "away"})
	ann.until(`document.getElementById('error').textContent.includes('not_authorized')`)

	ann.open(url) // again: the cookie is the login
	ann.until(`document.getElementById('people').textContent.includes('Ann: Lunch away')`)
}
