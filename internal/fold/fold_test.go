package fold

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestContains(t *testing.T) {
	for _, tt := range []struct {
		text, part string
		want       bool
	}{
		{"In a meeting", "MEET", true},
		{"In a meeting", "", true},
		{"", "x", false},
		{"ÉTÉ", "été", true},
		{"\u212Aelvin", "kel", true},
		{"a.c*", ".C*", true},
		{"abc", "a.c", false},
		{"straße", "STRASSE", false}, // simple folding, as strings.EqualFold
		{"ς", "Σ", true},
	} {
		require.Equal(t, tt.want, Contains(tt.part)(tt.text), "%q in %q", tt.part, tt.text)
	}
}

// Two texts fold to the same text if and only if strings.EqualFold reports
// true.
func FuzzContains(f *testing.F) {
	f.Add("Straße", "STRASSE")
	f.Add("\u212A", "k")
	f.Fuzz(func(t *testing.T, a, b string) {
		a, b = strings.ToValidUTF8(a, "?"), strings.ToValidUTF8(b, "?")
		same := string(Append(nil, a)) == string(Append(nil, b))
		if same != strings.EqualFold(a, b) {
			t.Fatalf("%q and %q: folded the same %t", a, b, same)
		}
		if same && !Contains(a)(b) {
			t.Fatalf("%q doesn't contain %q", b, a)
		}
	})
}

// Texts that are folded together are folded as they are alone.
func TestAppendAll(t *testing.T) {
	for _, texts := range [][]string{
		{},
		{"a", "", "Bc"},
		{"a", "\u212A", "Straße", "\xff", "z"},
	} {
		ends := make([]uint32, len(texts))
		folded := AppendAll([]byte("x"), texts, ends)
		want := []byte("x")
		for i, s := range texts {
			want = Append(want, s)
			require.Len(t, want, int(ends[i]))
		}
		require.Equal(t, want, folded)
	}
}
