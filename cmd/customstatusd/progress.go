package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// progress is a reader that shows on a terminal how much has been read.
type progress struct {
	r       io.Reader
	w       io.Writer
	n, size int64
	next    time.Time
}

// newProgress returns a progress that reads from r, or nil if w is not a terminal. A
// size of 0 is unknown.
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

// clear removes the progress from the terminal. A nil progress has nothing to remove.
func (p *progress) clear() {
	if p != nil {
		io.WriteString(p.w, "\r\x1b[K")
	}
}
