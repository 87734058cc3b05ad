package fingerprint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The numbers are a format: other processes, versions and stores rely on them.
func TestOfIsTheSameForEver(t *testing.T) {
	for _, test := range []struct {
		id, name, statusType, metadata string
		milliseconds                   int64
		want                           uint64
	}{
		{"EscbQinc8jmeXbpt7", "In a meeting", "busy", "", 1632664983057, 0x1d144cf8effc15c2},
		{"65462e97a2f73c7460e18f84", "caught up again", "busy", "{\"emoji\":\":tada:\"}", 1699098688353, 0x2a31261020660ab8},
		{"a", "b", "", "\xff\x00", -62167219200000, 0x51fd214e6aae6658},
	} {
		require.Equal(t, test.want, Of(test.id, test.name, test.statusType, test.metadata, test.milliseconds), "%+v", test)
	}
}

func TestOfTellsFieldsApart(t *testing.T) {
	seen := make(map[uint64]string)
	for _, f := range [][4]string{
		{"a", "b", "busy", ""}, {"ab", "", "busy", ""}, {"", "ab", "busy", ""}, {"a", "b", "", "busy"},
		{"a", "bbusy", "", ""}, {"b", "a", "busy", ""}, {"a", "b", "busy", "\x05"}, {"a", "b", "away", ""},
	} {
		for _, ms := range []int64{0, 1, -1} {
			h := Of(f[0], f[1], f[2], f[3], ms)
			require.Empty(t, seen[h])
			seen[h] = f[0] + "|" + f[1] + "|" + f[2] + "|" + f[3]
		}
	}
}

func TestOfDoesNotAllocate(t *testing.T) {
	var sum uint64
	require.Zero(t, testing.AllocsPerRun(100, func() {
		sum += Of("019a4f2c-1d5e-7000-8000-000000000001", "In a meeting", "busy", "", 1632664983057)
	}))
	require.NotZero(t, sum)
}
