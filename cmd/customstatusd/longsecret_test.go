//go:build !nocluster

package main

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The operator may name a device by mistake, which has no end.
func TestLongSecrets(t *testing.T) {
	long := filepath.Join(t.TempDir(), "long")
	require.NoError(t, os.WriteFile(long, make([]byte, maxNamed+1), 0o600))
	store := func(params ...string) address {
		a := address{params: make(url.Values)}
		for _, p := range params {
			a.params.Set(p, long)
		}
		return a
	}
	for what, read := range map[string]func() error{
		"password":    func() error { _, err := store("password-file").passwordOf(); return err },
		"ca":          func() error { _, err := store("ca").tls(); return err },
		"client cert": func() error { _, err := store("cert", "key").tls(); return err },
		"server cert": func() error { _, err := loadCertificate(long, long); return err },
		"token":       func() error { _, err := new(process).credentials(remote{tokenFile: long}); return err },
	} {
		require.ErrorContains(t, read(), "long: longer than 1048576 bytes", what)
	}
}
