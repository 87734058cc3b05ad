package httpadapter

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// FuzzRegex compares literals with package regexp. An accepted expression matches the
// same names in both.
func FuzzRegex(f *testing.F) {
	for _, seed := range [][2]string{
		{"", "a"}, {"a", "bab"}, {"^a", "ba"}, {"a$", "ab"}, {"^a$", "A"}, {`a\.b`, "a.b"}, {"a.b", "axb"}, {`\$`, "$"}, {`a\$$`, "A$"},
		{`\x2d`, "-"}, {`\-`, "-"}, {`\\`, `\`}, {`\d`, "1"}, {"É", "é"}, {"^ſ$", "S"}, {"K$", "k"}, {"ß", "ẞ"}, {"^", ""}, {"$", "x"}, {"^$", "x"},
		{`\_`, "_"}, {`\ `, " "}, {"\xff", "\xff"}, {"a\x00", "A\x00"},
	} {
		f.Add(seed[0], seed[1], true)
		f.Add(seed[0], seed[1], false)
	}
	f.Fuzz(func(t *testing.T, expression, name string, foldCase bool) {
		l, err := parseLiteral(expression)
		flags := "(?s)"
		if foldCase {
			flags = "(?si)"
		}
		re, bad := regexp.Compile(flags + expression)
		if err != nil || bad != nil {
			return // the decoder refuses invalid UTF-8 before
		}
		status := customstatus.CustomUserStatus{Name: name}
		require.Equal(t, re.MatchString(name), l.filter(foldCase).match(status), "%q of %q", expression, name)
	})
}
