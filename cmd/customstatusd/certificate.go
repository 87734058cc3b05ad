package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
)

// certificate is a TLS certificate that can be replaced while it is in use.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// loadCertificate reads the files. Without file names it returns nil.
func loadCertificate(certFile, keyFile string) (*certificate, error) {
	if certFile == "" {
		return nil, nil
	}
	c := &certificate{certFile: certFile, keyFile: keyFile}
	return c, c.reload()
}

func readKeyPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := readNamed(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readNamed(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// reload reads the files again. If that fails, the certificate stays as it is. A nil
// certificate has nothing to read.
func (c *certificate) reload() error {
	if c == nil {
		return nil
	}
	cert, err := readKeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	c.current.Store(&cert)
	return nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// listen returns a listener for TLS on ln.
func (c *certificate) listen(ln net.Listener) net.Listener {
	return tls.NewListener(ln, &tls.Config{GetCertificate: c.get, NextProtos: []string{"h2", "http/1.1"}})
}
