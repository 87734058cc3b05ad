package selection

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type word string

type dated struct {
	word word
	at   time.Time
}

func TestBy(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(ms) }
	values := []*dated{
		{"bb", at(2)}, {"", at(-5)}, {"longer than eight 2", at(2)}, {"longer than eight 1", at(2)},
		{"b", at(0)}, {"b\x00", at(-1)}, {"é", at(1)}, {"zz", at(7)},
	}
	byWord, byTime := Text(func(d *dated) word { return d.word }), Number(func(d *dated) uint64 { return Milliseconds(d.at) })
	last := func(k Key[dated]) Key[dated] {
		return k.Reversed(true)
	}
	compare := map[string]func(a, b *dated) int{
		"word": func(a, b *dated) int { return cmp.Compare(a.word, b.word) },
		"time": func(a, b *dated) int { return a.at.Compare(b.at) },
	}
	for name, tt := range map[string]struct {
		order Order[dated]
		want  func(a, b *dated) int
	}{
		"by word":             {By(byWord), compare["word"]},
		"by word, last first": {By(last(byWord)), func(a, b *dated) int { return compare["word"](b, a) }},
		"by time, then word": {By(byTime, byWord), func(a, b *dated) int {
			return cmp.Or(compare["time"](a, b), compare["word"](a, b))
		}},
		"by time, last first, then word": {By(last(byTime), byWord), func(a, b *dated) int {
			return cmp.Or(compare["time"](b, a), compare["word"](a, b))
		}},
		"by time, then word, last first": {By(byTime, last(byWord)), func(a, b *dated) int {
			return cmp.Or(compare["time"](a, b), compare["word"](b, a))
		}},
	} {
		want := slices.SortedFunc(slices.Values(values), tt.want)
		require.Equal(t, want, tt.order.Window(values, 0, len(values)), name)
		for i, a := range want {
			for _, b := range want[i+1:] {
				require.LessOrEqual(t, tt.order.prefix(a), tt.order.prefix(b), name)
			}
		}
	}
	require.Zero(t, By(byTime).Compare(values[0], values[2]), "they have the same time")
}
