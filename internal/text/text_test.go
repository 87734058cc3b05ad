package text_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/text"
)

func TestNameFault(t *testing.T) {
	for name, want := range map[string]string{
		"":                      "",
		"don`t":                 "",
		"🎧🎧🎧🎧🎧":                 "",
		"abcdef":                "it has more than 5 characters",
		strings.Repeat("x", 21): "it has more than 5 characters",
		"a\xffb":                "it is not valid UTF-8",
		"don't":                 `it has one of > < & " '`,
		"<b>":                   `it has one of > < & " '`,
		"a\x00":                 "it has a control character",
		"a\u0085":               "it has a control character",
	} {
		require.Equal(t, want, text.NameFault(name, 5), "%q", name)
	}
}

func TestBlank(t *testing.T) {
	for _, s := range []string{"", " ", "\t\u00a0\u2003\u3000", "\ufeff", "\u200b\u200d\u2060", "\u202e", "\u115f\u3164\uffa0", "\ufe0f\U000e0100", "\u2800", "\u00ad", "\u180e"} {
		require.True(t, text.Blank(s), "%+q", s)
	}
	for _, s := range []string{"a", " a ", "\u0600", "👩\u200d💻", "\u0301", "日", "\x00", "\xff", "."} {
		require.False(t, text.Blank(s), "%+q", s)
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"": false, "a": true, "abcde": true, "abcdef": false, "éé": true, "ééé": false,
		"a b": true, "a\n": false, "a\xff": false,
	} {
		require.Equal(t, want, text.ValidID(id, 5), "%q", id)
	}
}

func TestClip(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "abc": "abc", "abcd": "abc", "ééé": "ééé", "éééé": "ééé",
		"a\xff\xffb": "a\uFFFD", "a\xffbc": "a\uFFFDb",
	} {
		require.Equal(t, want, text.Clip(s, 3), "%q", s)
	}
}
