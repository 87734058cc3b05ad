// Package damage damages bbolt files for tests.
package damage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"testing"
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

// Some applies one to three random damages. It takes and returns what [Random]
// does, but leaves b unchanged.
func Some(random *rand.Rand, b, past []byte, size int) ([]byte, string) {
	b = bytes.Clone(b)
	var how, what string
	for range 1 + random.IntN(3) {
		b, how = Random(random, b, past, size)
		what += how + "; "
	}
	return b, what
}

// Flips yields copies of a file with one changed byte each, with a description.
// It changes every byte of the pages in use once, each by another bit, or with
// thorough five times.
func Flips(file []byte, size int, thorough bool) iter.Seq2[string, []byte] {
	patterns := []byte{0}
	if thorough {
		patterns = []byte{0x01, 0x02, 0x10, 0x80, 0xFF}
	}
	return func(yield func(string, []byte) bool) {
		for i := range inUse(file, size) {
			for _, pattern := range patterns {
				if pattern == 0 {
					pattern = 1 << (i % 8)
				}
				b := bytes.Clone(inUse(file, size))
				b[i] ^= pattern
				if !yield(fmt.Sprintf("byte %d ^ %#x", i, pattern), b) {
					return
				}
			}
		}
	}
}

// inUse returns a sound file without the pages behind those that the newer meta
// page counts.
func inUse(file []byte, size int) []byte {
	const pages, transaction = 16 + 40, 16 + 48 // offsets in a meta page
	newer := max(binary.NativeEndian.Uint64(file[transaction:]), binary.NativeEndian.Uint64(file[size+transaction:])) % 2
	return file[:int(binary.NativeEndian.Uint64(file[int(newer)*size+pages:]))*size]
}

// OldPages yields copies of a file in which one page is as it was in the past.
func OldPages(file, past []byte, size int) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for page := 0; (page+1)*size <= min(len(file), len(past)); page++ {
			b := bytes.Clone(file)
			copy(b[page*size:(page+1)*size], past[page*size:])
			if !yield(fmt.Sprintf("page %d as it was", page), b) {
				return
			}
		}
	}
}

// Overwrite replaces the content of a file. It does not truncate the file to
// nothing first, because ext4 then syncs the new content.
func Overwrite(t testing.TB, path string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Truncate(int64(len(b))), f.Close()); err != nil {
		t.Fatal(err)
	}
}
