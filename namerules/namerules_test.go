package namerules_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/namerules"
)

func TestRules(t *testing.T) {
	for _, tt := range []struct {
		rule, name, want, err string
	}{
		{"trim", "  in a meeting\t", "in a meeting", ""},
		{"trim", "\ufeff\u00a0x\u3000", "x", ""},
		{"trim", " \u3000 ", "", ""},
		{"trim", "a  b", "a  b", ""},
		{"nfc", "Cafe\u0301", "Caf\u00e9", ""},
		{"nfc", "Caf\u00e9", "Caf\u00e9", ""},
		{"nfc", "\u212b", "\u00c5", ""},
		{"nfc", "ﬁ", "ﬁ", ""}, // no compatibility form
		{"no-bidi", "abc", "abc", ""},
		{"no-bidi", "שלום", "שלום", ""},
		{"no-bidi", "ab\u202ecod.exe", "", "it has the character U+202E, which sets the direction of text"},
		{"no-bidi", "\u2066a\u2069", "", "it has the character U+2066, which sets the direction of text"},
		{"no-bidi", "a\u200f", "", "it has the character U+200F, which sets the direction of text"},
		{"no-invisible", "In a meeting", "In a meeting", ""},
		{"no-invisible", "日本語", "日本語", ""},
		{"no-invisible", "\u0600", "\u0600", ""}, // a sign for numbers, which can be seen
		{"no-invisible", "👩\u200d💻", "👩\u200d💻", ""},
		{"no-invisible", "❤\ufe0f", "❤\ufe0f", ""},
		{"no-invisible", "❤\ufe0f\u200d🔥", "❤\ufe0f\u200d🔥", ""},
		{"no-invisible", "1\ufe0f\u20e3", "1\ufe0f\u20e3", ""},
		{"no-invisible", "🏴\U000e0067\U000e0062\U000e007f", "🏴\U000e0067\U000e0062\U000e007f", ""},
		{"no-invisible", "می\u200cخواهم", "می\u200cخواهم", ""}, // Persian
		{"no-invisible", "क्\u200dष", "क्\u200dष", ""},         // Hindi
		{"no-invisible", "in\u200b a meeting", "", "it has the invisible character U+200B"},
		{"no-invisible", "bu\u200dsy", "", "it has the invisible character U+200D"},
		{"no-invisible", "busy\u200d", "", "it has the invisible character U+200D"},
		{"no-invisible", "👩\u200d", "", "it has the invisible character U+200D"},
		{"no-invisible", "\u200d👩", "", "it has the invisible character U+200D"},
		{"no-invisible", "busy\ufe0f", "", "it has the invisible character U+FE0F"},
		{"no-invisible", "❤\ufe0f\ufe0f", "", "it has the invisible character U+FE0F"},
		{"no-invisible", "\ufeffbusy", "", "it has the invisible character U+FEFF"},
		{"no-invisible", "bu\u00adsy", "", "it has the invisible character U+00AD"},
		{"no-invisible", "busy\u3164", "", "it has the invisible character U+3164"},
		{"no-invisible", "a\u2800", "", "it has the invisible character U+2800"},
		{"no-invisible", "x\U000e0041", "", "it has the invisible character U+E0041"},
		{"no-invisible", "a\xffb", "a\xffb", ""}, // that is not this rule's to refuse
	} {
		rule, ok := namerules.Named(tt.rule)
		require.True(t, ok)
		got, err := rule(tt.name)
		if tt.err != "" {
			require.EqualError(t, err, tt.err, "%s of %+q", tt.rule, tt.name)
			continue
		}
		require.NoError(t, err, "%s of %+q", tt.rule, tt.name)
		require.Equal(t, tt.want, got, "%s of %+q", tt.rule, tt.name)
	}
}

func TestNamed(t *testing.T) {
	for _, name := range namerules.Names() {
		_, ok := namerules.Named(name)
		require.True(t, ok, name)
	}
	_, ok := namerules.Named("nfkc")
	require.False(t, ok)
}

// A name that a rule gives stays the same when the rule is applied again, and a
// catalog stores it.
func FuzzRules(f *testing.F) {
	for _, name := range []string{" a ", "Cafe\u0301 ", "\u202e", "👩\u200d💻", "\xff\u0301"} {
		f.Add(name)
	}
	all := namerules.All(namerules.NFC, namerules.NoBidi, namerules.NoInvisible, namerules.Trim)
	f.Fuzz(func(t *testing.T, name string) {
		once, err := all(name)
		if err != nil {
			return
		}
		twice, err := all(once)
		require.NoError(t, err, "%+q", once)
		require.Equal(t, once, twice)
	})
}

func Example() {
	rules := customstatus.Rules{
		NameRule: namerules.All(namerules.NFC, namerules.NoBidi, namerules.NoInvisible, namerules.Trim),
	}
	catalog, err := customstatus.Open(context.Background(), customstatus.NewMemoryStore(), &customstatus.Options{Rules: rules})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer catalog.Close()
	status, err := catalog.Create(context.Background(), customstatus.Fields{Name: "  Cafe\u0301 ", StatusType: customstatus.Away})
	fmt.Printf("%q %v\n", status.Name, err)
	_, err = catalog.Create(context.Background(), customstatus.Fields{Name: "bu\u200bsy", StatusType: customstatus.Busy})
	fmt.Println(err)
	// Output:
	// "Café" <nil>
	// name "bu\u200bsy" is not valid: it has the invisible character U+200B
}
