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
