package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/client"
)

// remote says which running server an import reads.
type remote struct {
	url       string
	userID    string
	tokenFile string
}

// fromTokenVariable has the token of the server that an import reads.
const fromTokenVariable = "CUSTOMSTATUS_FROM_TOKEN"

func (r *remote) declare(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&r.url, "from", "", "instead of FILE, the `URL` of a running Rocket.Chat or customstatusd, such as\nhttps://chat.example")
	flags.StringVar(&r.userID, "user-id", "", "with --from, the `ID` of the user whose token is used")
	flags.StringVar(&r.tokenFile, "token-file", "", "with --from, the `FILE` with the token; without it, the token is in\n$"+fromTokenVariable)
}

// source says what an import reads: a file or a server.
func (r *remote) source(args []string) error {
	switch {
	case r.url == "" && (r.userID != "" || r.tokenFile != ""):
		return usagef("--user-id and --token-file go with --from")
	case r.url == "" && len(args) == 0:
		return usagef("expected FILE or --from URL, got no arguments")
	case r.url != "" && len(args) > 0:
		return usagef("--from and FILE both say what to import; give one")
	}
	return nil
}

// credentials reads the token. No error has any part of it.
func (p *process) credentials(r remote) (client.Credentials, error) {
	text, place := "", "$"+fromTokenVariable
	if r.tokenFile != "" {
		place = r.tokenFile
		raw, err := readNamed(r.tokenFile)
		if err != nil {
			return client.Credentials{}, fmt.Errorf("--token-file: %w", err)
		}
		text = string(raw)
	} else {
		text, _ = p.lookupEnv(fromTokenVariable)
	}
	who := client.Credentials{UserID: r.userID}
	if headerLines.MatchString(text) { // what serve --credentials-file writes
		id, token, _ := strings.Cut(text, "\n")
		text = strings.TrimPrefix(token, "X-Auth-Token: ")
		if id = strings.TrimPrefix(id, "X-User-Id: "); who.UserID == "" {
			who.UserID = id
		} else if who.UserID != id {
			return who, usagef("--user-id is not the user whose token is in %s", place)
		}
	}
	who.Token = strings.TrimSpace(text)
	switch {
	case who.Token == "" && r.tokenFile == "":
		return who, usagef("--from needs a token: in the file of --token-file, or in %s", place)
	case who.Token == "" || strings.ContainsFunc(who.Token, func(c rune) bool { return c <= ' ' || c > '~' }):
		return who, fmt.Errorf("%s: not one token, alone in its line", place)
	case who.UserID == "":
		return who, usagef("--from needs --user-id: Rocket.Chat shows it with the token")
	}
	return who, nil
}

// How patient the reading of a server is. Rocket.Chat allows 10 requests in a minute by
// default, and says when the next one may come.
const (
	fromTimeout = 5 * time.Minute // for one answer, which may have all statuses
	fromSilence = time.Minute     // of a server, before and within an answer
	fromRetries = 4
	fromMaxWait = 2 * time.Minute
	fromMaxSize = 32 << 20  // bytes of one answer, enough for 200,000 statuses
	fromMaxList = 128 << 20 // bytes of all answers
)

// importFromServer imports all statuses of a running server, and names the statuses of
// the catalog that the server has no more.
func (p *process) importFromServer(ctx context.Context, at address, from remote, rules customstatus.Rules, opts importOptions) error {
	who, err := p.credentials(from)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	before, err := readMaybe(ctx, at)
	if err != nil {
		return err
	}
	statuses, err := p.fetch(ctx, from.url, who)
	if err != nil {
		return fmt.Errorf("nothing was imported: %w", err)
	}
	var lines bytes.Buffer
	for i := range statuses {
		lines.Write(append(statuses[i].AppendExportJSON(nil), '\n'))
	}
	called := func(where string) string {
		var line, value int
		if _, err := fmt.Sscanf(where, "line %d (value %d)", &line, &value); err != nil || line < 1 || line > len(statuses) {
			return where
		}
		return fmt.Sprintf("status %q, named %q", statuses[line-1].ID, statuses[line-1].Name)
	}
	in := importInput{name: from.url, r: &lines, size: int64(lines.Len()), called: called}
	err = p.importInto(ctx, at, in, rules, opts)
	return errors.Join(err, p.sayGone(from.url, before, statuses))
}

// maxGone bounds the statuses that are named as gone.
const maxGone = 100

// sayGone names the statuses of the catalog that are not at the source.
func (p *process) sayGone(name string, before, statuses []customstatus.CustomUserStatus) error {
	gone := withoutIDs(before, statuses)
	ids := make(map[string]string, len(statuses))
	for i := range statuses {
		ids[statuses[i].Name] = statuses[i].ID
	}
	var text strings.Builder
	for i, s := range gone {
		if i == maxGone {
			fmt.Fprintf(&text, "%s: and %d more\n", name, len(gone)-maxGone)
			break
		}
		why := "gone there, or never there"
		if id, renewed := ids[s.Name]; renewed {
			why = fmt.Sprintf("there, the name has the id %q", id)
		}
		fmt.Fprintf(&text, "%s: status %q, named %q: %s\n", name, s.ID, s.Name, why)
	}
	if len(gone) > 0 {
		fmt.Fprintf(&text, "only here %d; nothing was deleted\n", len(gone))
	}
	_, err := io.WriteString(p.stdout, text.String())
	return err
}

// fetch returns all statuses of a running server.
func (p *process) fetch(ctx context.Context, base string, who client.Credentials) ([]customstatus.CustomUserStatus, error) {
	transport := &showing{next: http.DefaultTransport, silence: fromSilence, to: p.stderr, on: isTerminal(p.stderr)}
	defer transport.clear()
	base = strings.TrimRight(base, "/")
	base = strings.TrimSuffix(base, strings.TrimRight(client.DefaultPrefix, "/"))
	c, err := client.New(base, &client.Options{
		Credentials:    who,
		HTTPClient:     &http.Client{Transport: transport},
		UserAgent:      "customstatusd/" + version(),
		Timeout:        fromTimeout,
		Retries:        fromRetries,
		MaxWait:        fromMaxWait,
		MaxAnswerBytes: fromMaxSize,
		MaxListBytes:   fromMaxList,
		OnRetry: func(err error, wait time.Duration) {
			transport.clear()
			fmt.Fprintf(p.stderr, "customstatusd: %s: %s; trying again in %v\n", base, plain(err), wait.Round(10*time.Millisecond))
		},
	})
	if err != nil {
		return nil, usagef("--from: %s, such as https://chat.example", strings.TrimPrefix(err.Error(), "client: "))
	}
	if unencrypted(base) {
		fmt.Fprintf(p.stderr, "customstatusd: %s: warning: without https, everybody on the way can read the token\n", base)
	}
	var statuses []customstatus.CustomUserStatus
	for s, err := range c.All(ctx, client.Query{}) {
		if err != nil {
			return nil, explain(base, err)
		}
		statuses = append(statuses, s)
	}
	return statuses, nil
}

// unencrypted reports whether a URL sends a token in the clear over a network.
func unencrypted(base string) bool {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" || u.Hostname() == "localhost" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return ip == nil || !ip.IsLoopback()
}

// explain says what to do about the failure of a server's list.
func explain(base string, err error) error {
	var answer *client.Error
	hint := ""
	switch {
	case errors.As(err, &answer) && strings.HasPrefix(answer.Code, "totp-"):
		hint = "; the login wants a second factor: make a personal access token that ignores it"
	case errors.Is(err, client.ErrUnauthorized):
		hint = "; the user id or the token is wrong, or the token has ended"
	case errors.As(err, &answer) && answer.Status >= 300 && answer.Status < 400:
		hint = "; give --from the address that it redirects to"
	case errors.Is(err, client.ErrUnexpectedAnswer), errors.Is(err, errors.ErrUnsupported):
		hint = "; is --from the address of a Rocket.Chat, with its path if it has one?"
	}
	return fmt.Errorf("%s: %w%s", base, err, hint)
}

// showing gives up an answer of which nothing comes, and counts bytes on a terminal.
type showing struct {
	next    http.RoundTripper
	silence time.Duration
	to      io.Writer
	on      bool
	read    atomic.Int64
}

func (s *showing) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	silent := fmt.Errorf("nothing has come for %v", s.silence)
	b := &shown{s: s, cancel: cancel, timer: time.AfterFunc(s.silence, func() { cancel(silent) })}
	b.why = func(err error) error { // HTTP/2 only says that the context is canceled
		if err != nil && err != io.EOF && context.Cause(ctx) == silent {
			return silent
		}
		return err
	}
	res, err := s.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, b.why(err)
	}
	b.timer.Reset(s.silence)
	b.ReadCloser, res.Body = res.Body, b
	return res, nil
}

func (s *showing) clear() {
	if s.on {
		io.WriteString(s.to, "\r\x1b[K")
	}
}

// shown is the body of an answer.
type shown struct {
	io.ReadCloser
	s      *showing
	timer  *time.Timer
	cancel context.CancelCauseFunc
	why    func(error) error
}

func (b *shown) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	if n > 0 {
		b.timer.Reset(b.s.silence)
	}
	if b.s.on {
		fmt.Fprintf(b.s.to, "\r\x1b[Kreading: %.1f MB", float64(b.s.read.Add(int64(n)))/1e6)
	}
	return n, b.why(err)
}

func (b *shown) Close() error {
	b.cancel(nil)
	return b.ReadCloser.Close()
}
