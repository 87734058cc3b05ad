package console

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// The directory of the files has another name after each change, because browsers keep
// what they have.
func TestDigest(t *testing.T) {
	t.Parallel()
	digests := make(map[string]string)
	for name, files := range map[string]fstest.MapFS{
		"some":           {"web/a.js": {Data: []byte("1")}, "web/b.css": {Data: []byte("2")}},
		"another byte":   {"web/a.js": {Data: []byte("3")}, "web/b.css": {Data: []byte("2")}},
		"exchanged":      {"web/a.js": {Data: []byte("2")}, "web/b.css": {Data: []byte("1")}},
		"another name":   {"web/c.js": {Data: []byte("1")}, "web/b.css": {Data: []byte("2")}},
		"another border": {"web/a.js": {Data: []byte("1web/b.css 1\n2")}},
	} {
		_, digest := readFiles(files)
		require.NotContains(t, digests, digest, name)
		digests[digest] = name
	}
}
