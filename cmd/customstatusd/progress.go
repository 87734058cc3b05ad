package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// progress tells on a terminal how much of a reader has been read.
type progress struct {
	r       io.Reader
	w       io.Writer
	n, size int64
	next    time.Time
}

// newProgress returns nil, which shows nothing, if w is no terminal.
func newProgress(w io.Writer, r io.Reader, size int64) *progress {
	if !isTerminal(w) {
		return nil
	}
	return &progress{r: r, w: w, size: size}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

const progressEvery = 100 * time.Millisecond

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	const mb = 1e6
	switch now := time.Now(); {
	case err == io.EOF:
		fmt.Fprintf(p.w, "\r\x1b[Kread %.1f MB, writing", float64(p.n)/mb)
	case now.Before(p.next):
	case p.size > 0:
		p.next = now.Add(progressEvery)
		fmt.Fprintf(p.w, "\r\x1b[Kreading: %d %% of %.1f MB", p.n*100/p.size, float64(p.size)/mb)
	default:
		p.next = now.Add(progressEvery)
		fmt.Fprintf(p.w, "\r\x1b[Kreading: %.1f MB", float64(p.n)/mb)
	}
	return n, err
}

// clear takes the progress off the terminal.
func (p *progress) clear() {
	if p != nil {
		io.WriteString(p.w, "\r\x1b[K")
	}
}
