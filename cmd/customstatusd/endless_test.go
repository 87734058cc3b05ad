//go:build !nocluster

package main

import (
	"net/url"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file that the operator names by mistake may have no end.
func TestFileWithoutAnEnd(t *testing.T) {
	const endless = "/dev/zero"
	if _, err := os.Stat(endless); err != nil {
		t.Skipf("there is no %s", endless)
	}
	store := func(params ...string) address {
		a := address{params: make(url.Values)}
		for _, p := range params {
			a.params.Set(p, endless)
		}
		return a
	}
	for what, read := range map[string]func() error{
		"password":    func() error { _, err := store("password-file").passwordOf(); return err },
		"ca":          func() error { _, err := store("ca").tls(); return err },
		"client cert": func() error { _, err := store("cert", "key").tls(); return err },
		"server cert": func() error { _, err := loadCertificate(endless, endless); return err },
		"token":       func() error { _, err := new(process).credentials(remote{tokenFile: endless}); return err },
	} {
		require.ErrorContains(t, read(), "/dev/zero: longer than 1048576 bytes", what)
	}
}
