package fingerprint

import (
	"fmt"
	"strconv"
	"strings"
)

// FormatPosition returns the text form of a position: the revision in decimal, a
// hyphen, and the fingerprint in sixteen hexadecimal digits.
func FormatPosition(revision, sum uint64) string {
	return fmt.Sprintf("%d-%016x", revision, sum)
}

// ParsePosition parses the text form. ok is false for any other text.
func ParsePosition(s string) (revision, sum uint64, ok bool) {
	first, second, _ := strings.Cut(s, "-")
	revision, err1 := strconv.ParseUint(first, 10, 64)
	sum, err2 := strconv.ParseUint(second, 16, 64)
	if err1 != nil || err2 != nil || FormatPosition(revision, sum) != s {
		return 0, 0, false
	}
	return revision, sum, true
}
