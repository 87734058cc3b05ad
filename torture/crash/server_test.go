//go:build linux

package crash

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/torture/internal/harness"
)

// TestKillServer kills customstatusd with SIGKILL while many clients write. A
// write is acknowledged when the client has read the whole answer 200. Every
// fourth server gets SIGTERM instead and must shut down cleanly.
func TestKillServer(t *testing.T) {
	program := harness.BuildServer(t)
	rounds := harness.Rounds(12, 1000)
	const perFile = 40
	var total ledger
	for first := 0; first < rounds; first += perFile {
		l := newLedger()
		path := filepath.Join(t.TempDir(), "catalog.db")
		credentials := harness.NewToken(t, program, path)
		for n := first; n < min(rounds, first+perFile); n++ {
			s := harness.StartServer(t, program, path)
			log := serverRound(t, s, l, path, credentials, uint64(n))
			if t.Failed() {
				t.Fatalf("in round %d, log of the server:\n%s", n, log)
			}
		}
		total.acknowledged += l.acknowledged
		total.refused += l.refused
		total.open += l.open
		total.done += l.done
	}
	harness.Report(t, "server", "%d servers ended, three of four by SIGKILL: %d acknowledged writes all there, %d refused; of %d not acknowledged, %d there as a whole and %d not at all",
		rounds, total.acknowledged, total.refused, total.open, total.done, total.open-total.done)
}

// serverRound lets clients write to the server, ends the server, and checks the
// file. It returns the server's log.
func serverRound(t *testing.T, s *harness.Server, l *ledger, path string, credentials http.Header, seed uint64) (log string) {
	r := rand.New(rand.NewPCG(seed, 0))
	began := time.Now()
	moment := make(chan struct{})
	reached := sync.OnceFunc(func() { close(moment) })
	after := 1 + r.IntN(150)
	l.round(func(acks int) {
		if acks == after {
			reached()
		}
	})
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	writers := make([]*client, 1+r.IntN(24))
	for n := range writers {
		writers[n] = &client{
			number:      n,
			ledger:      l,
			http:        &http.Client{Transport: transport},
			url:         s.URL + "/api/v1/custom-user-status.",
			credentials: credentials,
			rand:        rand.New(rand.NewPCG(seed, uint64(n)+1)),
		}
	}
	for i, id := range slices.Sorted(maps.Keys(l.statuses)) {
		w := writers[i%len(writers)]
		w.own = append(w.own, id)
	}
	wrong := make(chan error, len(writers))
	var writing sync.WaitGroup
	for _, w := range writers {
		writing.Go(func() {
			for {
				err := w.next()
				if err == nil {
					continue
				}
				if !errors.Is(err, errGone) {
					wrong <- err
				}
				return
			}
		})
	}
	go func() {
		writing.Wait()
		close(wrong)
		reached()
	}()
	<-moment
	time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond)
	signal := syscall.SIGKILL
	if seed%4 == 3 {
		signal = syscall.SIGTERM
	}
	if err := s.Cmd.Process.Signal(signal); err != nil {
		t.Error(err)
	}
	for err := range wrong {
		t.Error(err)
	}
	log, err := s.Wait()
	if signal == syscall.SIGTERM && err != nil {
		t.Errorf("after SIGTERM: %v", err)
	} else if signal == syscall.SIGKILL && s.Cmd.ProcessState.Exited() {
		t.Errorf("the server ended by itself: %v", err)
	}
	checkFile(t, path)
	c := openFile(t, path)
	page, err := c.List(customstatus.Query{})
	if err := errors.Join(err, c.Close()); err != nil {
		t.Fatal(err)
	}
	if err := l.verify(page, began); err != nil {
		t.Error(err)
	}
	return log
}

// errGone is returned when the server has not answered.
var errGone = errors.New("no answer")

// client writes through HTTP.
type client struct {
	number      int
	ledger      *ledger
	http        *http.Client
	url         string
	credentials http.Header
	rand        *rand.Rand
	own         []string // ids of the statuses that only it writes to
}

// next makes one write or, sometimes, reads the catalog's revision.
func (c *client) next() error {
	if c.rand.IntN(10) == 0 {
		header, _, err := c.do(http.MethodGet, "list?count=1", nil)
		if err != nil {
			return err
		}
		position, err := customstatus.ParsePosition(header.Get("X-Catalog-Position"))
		c.ledger.sees(position.Revision)
		return err
	}
	w := write{Kind: "create", Keeps: true, Status: record{Name: name(c.rand), StatusType: statusType(c.rand)}}
	own := -1
	if len(c.own) > 0 && c.rand.IntN(10) > 3 {
		own = c.rand.IntN(len(c.own))
		w.Kind, w.Status.ID = "update", c.own[own]
		if c.rand.IntN(3) == 0 {
			w = write{Kind: "delete", Status: record{ID: w.Status.ID}}
		}
	}
	body := map[string]string{"name": w.Status.Name, "statusType": string(w.Status.StatusType)}
	switch w.Kind {
	case "update":
		body["_id"] = w.Status.ID
	case "delete":
		body = map[string]string{"customUserStatusId": w.Status.ID}
	}
	c.ledger.begin(c.number, w)
	_, answer, err := c.do(http.MethodPost, w.Kind, body)
	if err != nil {
		return err
	}
	if !answer.Success {
		c.ledger.refuse(c.number)
		return nil
	}
	made := recordOf(answer.CustomUserStatus)
	c.ledger.acknowledge(c.number, made, 0)
	switch w.Kind {
	case "create":
		c.own = append(c.own, made.ID)
	case "delete":
		c.own = slices.Delete(c.own, own, own+1)
	}
	return nil
}

// answer is the answer of an endpoint.
type answer struct {
	Success          bool
	CustomUserStatus customstatus.CustomUserStatus
	ErrorType        string
}

// do sends a request and reads the whole answer, which must be 200 or an error
// for a name in use.
func (c *client) do(method, endpoint string, body map[string]string) (http.Header, answer, error) {
	var a answer
	var sent []byte
	if body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return nil, a, err
		}
	}
	r, err := http.NewRequest(method, c.url+endpoint, bytes.NewReader(sent))
	if err != nil {
		return nil, a, err
	}
	r.Header = c.credentials.Clone()
	got, err := c.http.Do(r)
	if err != nil {
		return nil, a, fmt.Errorf("%w: %w", errGone, err)
	}
	defer got.Body.Close()
	data, err := io.ReadAll(got.Body)
	if err != nil {
		return nil, a, fmt.Errorf("%w: %w", errGone, err)
	}
	err = json.Unmarshal(data, &a)
	ok := got.StatusCode == http.StatusOK && a.Success ||
		got.StatusCode == http.StatusBadRequest && a.ErrorType == string(customstatus.CodeNameInUse)
	if err == nil && !ok {
		err = errors.New("unexpected")
	}
	if err != nil {
		return nil, a, fmt.Errorf("%s %s: %s %s: %w", method, endpoint, got.Status, data, err)
	}
	return got.Header, a, nil
}
