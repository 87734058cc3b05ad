package benchmarks_test

import (
	"math/bits"
	"testing"
	"time"
)

// histogram counts durations in buckets whose width is at most 1/128 of the duration.
type histogram struct {
	counts [64 << histogramBits]int
	total  int
}

const histogramBits = 7

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.total++
}

// bucket returns the bucket of v, which stands for the first bits of v and the number of
// the other bits.
func bucket(v uint64) int {
	rest := max(bits.Len64(v)-histogramBits-1, 0)
	return rest<<histogramBits + int(v>>rest)
}

// quantile returns the number of nanoseconds that the fraction q of the durations does not
// exceed.
func (h *histogram) quantile(q float64) float64 {
	left := int(q * float64(h.total))
	for i, n := range h.counts {
		if left -= n; left < 0 {
			return float64(lower(i))
		}
	}
	return 0
}

// lower returns the least value in a bucket.
func lower(i int) uint64 {
	if i < 2<<histogramBits {
		return uint64(i)
	}
	rest := i>>histogramBits - 1
	return uint64(i-rest<<histogramBits) << rest
}

func TestHistogram(t *testing.T) {
	for v := uint64(0); v < 1<<40; v += 1 + v/50 {
		i := bucket(v)
		if low, high := lower(i), lower(i+1); v < low || v >= high || float64(high-low) > 1+float64(v)/127 {
			t.Fatalf("%d is in bucket %d from %d to %d", v, i, low, high)
		}
	}
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(999 - i))
	}
	for q, want := range map[float64]float64{0: 0, 0.5: 500, 0.99: 988, 0.999: 996} {
		if got := h.quantile(q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}
