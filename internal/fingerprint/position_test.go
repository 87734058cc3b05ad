package fingerprint_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/fingerprint"
)

func TestPosition(t *testing.T) {
	for s, want := range map[string][2]uint64{
		"0-0000000000000000":                    {},
		"42-9f3a07c1d2e4b586":                   {42, 0x9f3a07c1d2e4b586},
		"18446744073709551615-ffffffffffffffff": {math.MaxUint64, math.MaxUint64},
	} {
		require.Equal(t, s, fingerprint.FormatPosition(want[0], want[1]))
		revision, sum, ok := fingerprint.ParsePosition(s)
		require.True(t, ok, s)
		require.Equal(t, want, [2]uint64{revision, sum}, s)
	}
	for _, s := range []string{
		"", "-", "42", "42-", "-9f3a07c1d2e4b586", "42-9F3A07C1D2E4B586", "042-9f3a07c1d2e4b586",
		"+42-9f3a07c1d2e4b586", "42-9f3a07c1d2e4b58", "42-09f3a07c1d2e4b586", "42-9f3a07c1d2e4b586-",
		" 42-9f3a07c1d2e4b586", "18446744073709551616-0000000000000000",
	} {
		_, _, ok := fingerprint.ParsePosition(s)
		require.False(t, ok, s)
	}
}
