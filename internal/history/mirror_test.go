package history

import (
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/sentinel"
)

func TestMirror(t *testing.T) {
	lost := errors.New("lost")
	// watch yields the numbers up to the next ten, and fails at 20.
	watch := func(after int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for n := after + 1; n%10 != 0; n++ {
				if !yield(n, nil) {
					return
				}
			}
			if after < 10 {
				yield(0, sentinel.ErrCompacted)
				return
			}
			yield(0, lost)
		}
	}
	step := func(n int) (string, int) { return fmt.Sprint(n), n }
	var wholes []int
	whole := func() (string, int, error) {
		if len(wholes) == 0 {
			return "", 0, sentinel.ErrClosed
		}
		n := wholes[0]
		wholes = wholes[1:]
		return fmt.Sprint("all up to ", n), n, nil
	}
	collect := func(after, most int) (got []string, last error) {
		for update, err := range Mirror(after, whole, watch, step) {
			if err != nil {
				require.Zero(t, update)
				require.NoError(t, last, "only one error")
				last = err
				continue
			}
			if got = append(got, update); len(got) == most {
				break
			}
		}
		return got, last
	}

	got, err := collect(16, 0)
	require.ErrorIs(t, err, lost)
	require.Equal(t, []string{"17", "18", "19"}, got)

	wholes = []int{7, 17}
	got, err = collect(0, 0)
	require.ErrorIs(t, err, lost)
	require.Equal(t, []string{"all up to 7", "8", "9", "all up to 17", "18", "19"}, got)

	wholes = []int{7, 17}
	for most := 1; most < 6; most++ {
		wholes = []int{7, 17}
		got, err = collect(0, most)
		require.NoError(t, err)
		require.Len(t, got, most)
	}

	wholes = nil
	got, err = collect(8, 0)
	require.ErrorIs(t, err, sentinel.ErrClosed, "of the whole, after what was compacted")
	require.Equal(t, []string{"9"}, got)
}
