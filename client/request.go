package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/customstatus/customstatus"
)

// maxErrorBytes is how much of an error answer is read.
const maxErrorBytes = 64 << 10

// call is one operation.
type call struct {
	op       string
	method   string
	query    url.Values
	body     []byte
	header   http.Header
	id, name string // of the status, for errors
}

func (c *call) writes() bool { return c.method == http.MethodPost }

// failed is the error of a call that got no answer.
func (c *call) failed(err error) error { return fmt.Errorf("client: %s: %w", c.op, err) }

// answer is a success, read to its end.
type answer struct {
	res  *http.Response
	body content
	size int
}

// do sends the call, and repeats it where nothing can be done twice.
func (c *Client) do(ctx context.Context, call *call) (*answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, call.failed(err)
	}
	waits := c.waits()
	for attempt := 0; ; attempt++ {
		a, err := c.once(ctx, call)
		if err == nil || ctx.Err() != nil || attempt >= c.opts.Retries {
			return a, err
		}
		least := waitAskedBy(err)
		if least > c.opts.MaxWait || call.writes() && !unsent(err) || !passes(err) {
			return nil, err
		}
		if ended := waits.next(ctx, err, least); ended != nil {
			return nil, fmt.Errorf("%w, and then: %w", err, ended)
		}
	}
}

func (c *Client) once(ctx context.Context, call *call) (*answer, error) {
	if c.opts.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.opts.Timeout)
		defer cancel()
	}
	res, err := c.open(ctx, c.http, call)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, c.opts.MaxAnswerBytes+1))
	if err != nil {
		return nil, call.broken(err)
	}
	if int64(len(body)) > c.opts.MaxAnswerBytes {
		return nil, call.unexpected(res, fmt.Sprintf("it has more than %d bytes", c.opts.MaxAnswerBytes))
	}
	f := decode(body)
	if !f.known || !f.ok {
		return nil, call.fault(res, body, time.Now())
	}
	return &answer{res, f, len(body)}, nil
}

// broken is the error of a call whose answer didn't come, or not whole.
func (c *call) broken(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // the URL of a search is no part of an error's text
	}
	if c.writes() && !unsent(err) {
		return c.failed(fmt.Errorf("%w: %w", customstatus.ErrOutcomeUnknown, err))
	}
	return c.failed(err)
}

// open sends the call once, with new credentials if the first were refused: a server
// that answers 401 has done nothing. The caller closes the body.
func (c *Client) open(ctx context.Context, from *http.Client, call *call) (*http.Response, error) {
	var refused *Credentials
	var fault *Error
	for {
		who, ok, err := c.credentials(ctx, refused)
		if err != nil {
			return nil, call.failed(err)
		}
		if refused != nil && (!ok || who == *refused) {
			return nil, fault
		}
		res, err := c.send(ctx, from, call, who)
		if err != nil {
			return nil, call.broken(err)
		}
		if res.StatusCode >= 200 && res.StatusCode < 300 {
			return res, nil
		}
		body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBytes))
		res.Body.Close()
		fault = call.fault(res, body, time.Now())
		if err != nil && len(body) == 0 {
			fault.Message = err.Error()
		}
		if res.StatusCode != http.StatusUnauthorized || refused != nil || c.opts.Renew == nil {
			return nil, fault
		}
		refused = &who
	}
}

func (c *Client) send(ctx context.Context, from *http.Client, call *call, who Credentials) (*http.Response, error) {
	u := c.base.JoinPath("custom-user-status." + call.op)
	u.RawQuery = call.query.Encode()
	r, err := http.NewRequestWithContext(ctx, call.method, u.String(), bytes.NewReader(call.body))
	if err != nil {
		return nil, err
	}
	if call.header != nil {
		r.Header = call.header.Clone()
	}
	r.Header.Set("User-Agent", c.opts.UserAgent)
	if call.writes() {
		r.Header.Set("Content-Type", "application/json")
	} else {
		r.Body, r.GetBody = nil, nil
	}
	if (who != Credentials{}) {
		r.Header.Set("X-User-Id", who.UserID)
		r.Header.Set("X-Auth-Token", who.Token)
	}
	return from.Do(r)
}

// unsent reports whether an error came before anything was sent. What isn't known
// counts as sent.
func unsent(err error) bool {
	var op *net.OpError
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &name) || errors.As(err, &certificate)
}

// passes reports whether a failure can pass by itself.
func passes(err error) bool {
	var answer *Error
	if errors.As(err, &answer) {
		switch answer.Status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
			return true
		}
		return answer.Status >= 500 || answer.Status < 300
	}
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	return !errors.As(err, &certificate) && !errors.As(err, &authority) && !errors.Is(err, ErrUnauthorized)
}

func waitAskedBy(err error) time.Duration {
	var answer *Error
	if errors.As(err, &answer) {
		return answer.RetryAfter
	}
	return 0
}
