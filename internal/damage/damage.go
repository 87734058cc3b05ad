// Package damage damages files for tests.
package damage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// Random damages b, a file with pages of the given size, in one random way. It
// changes b in place and returns the rest of the file and a description of the
// damage. The slice past is the same file as it was some commits earlier.
func Random(random *rand.Rand, b, past []byte, size int) ([]byte, string) {
	pages := len(b) / size
	if pages == 0 {
		return b, "nothing left to damage"
	}
	p, q := random.IntN(pages), random.IntN(pages)
	from, to := b[p*size:(p+1)*size], b[q*size:(q+1)*size]
	switch random.IntN(12) {
	case 0:
		at := random.IntN(len(b))
		b[at] ^= 1 << random.IntN(8)
		return b, fmt.Sprintf("bit at %d", at)
	case 1:
		at := random.IntN(len(b))
		b[at] = byte(random.Uint32())
		return b, fmt.Sprintf("byte at %d", at)
	case 2:
		from[random.IntN(64)] ^= 1 << random.IntN(8)
		return b, fmt.Sprintf("head of page %d", p)
	case 3:
		clear(from)
		return b, fmt.Sprintf("page %d zeroed", p)
	case 4:
		at := random.IntN(size/512) * 512
		clear(from[at : at+512])
		return b, fmt.Sprintf("sector at %d of page %d zeroed", at, p)
	case 5:
		page := bytes.Clone(from)
		copy(from, to)
		copy(to, page)
		return b, fmt.Sprintf("pages %d and %d swapped", p, q)
	case 6:
		copy(to, from)
		return b, fmt.Sprintf("page %d over page %d", p, q)
	case 7: // as if bbolt had written the page there
		copy(to, from)
		binary.NativeEndian.PutUint64(to, uint64(q))
		return b, fmt.Sprintf("page %d over page %d, renumbered", p, q)
	case 8:
		for i := range from {
			from[i] = byte(random.Uint32())
		}
		return b, fmt.Sprintf("page %d garbage", p)
	case 9:
		n := random.IntN(len(b))
		return b[:n], fmt.Sprintf("cut to %d", n)
	case 10: // a write that never reached the disk
		if (p+1)*size <= len(past) {
			copy(from, past[p*size:])
		}
		return b, fmt.Sprintf("page %d as it was", p)
	default:
		n := random.IntN(len(b))
		clear(b[n:])
		return b, fmt.Sprintf("zeros from %d", n)
	}
}
