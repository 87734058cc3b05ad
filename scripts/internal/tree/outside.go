package tree

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// FromOutside calls do with the checkout that the directory dir is in. In the
// environment env, the go command has no go.work and finds the checkout's
// modules by version. The directory scratch is empty and is removed when do
// returns.
func FromOutside(dir string, do func(t *Tree, env []string, scratch string) error) (err error) {
	t, err := Load(dir)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "customstatus-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	proxy, err := t.WriteProxy(filepath.Join(scratch, "proxy"))
	if err != nil {
		return err
	}
	env, err := Env(proxy, scratch)
	if err != nil {
		return err
	}
	own := filepath.Join(scratch, "work")
	if err := os.Mkdir(own, 0o777); err != nil {
		return err
	}
	return do(t, env, own)
}

// Env returns the environment of a new user: without go.work, and with the
// modules of this repository only from the proxy. The module cache is in the
// directory scratch, so that no older module of the same version is used. Other
// modules come from the machine's own cache if it has them.
func Env(proxy, scratch string) ([]string, error) {
	out, err := Run("", nil, "go", "env", "-json", "GOMODCACHE", "GOPROXY", "GONOSUMDB")
	if err != nil {
		return nil, err
	}
	var machine struct{ GOMODCACHE, GOPROXY, GONOSUMDB string }
	if err := json.Unmarshal([]byte(out), &machine); err != nil {
		return nil, err
	}
	cached, err := withoutNamespace(filepath.Join(machine.GOMODCACHE, "cache", "download"), filepath.Join(scratch, "cached"))
	if err != nil {
		return nil, err
	}
	return append(os.Environ(),
		"GOWORK=off",
		// The checksum database knows no version of this repository yet.
		"GONOSUMDB="+strings.Trim(machine.GONOSUMDB+","+Namespace, ","),
		"GOPROXY="+proxy+","+cached+","+machine.GOPROXY,
		"GOMODCACHE="+filepath.Join(scratch, "modcache"),
		"GOFLAGS=-mod=mod -modcacherw",
	), nil
}

// withoutNamespace makes the directory to a module proxy and returns the URL.
// The proxy has the modules of the machine's cache, except those of this
// repository.
func withoutNamespace(cache, to string) (string, error) {
	// Links to the top directories, and to the directories beside ours.
	host, org, _ := strings.Cut(strings.TrimSuffix(Namespace, "/*"), "/")
	for from, skip := range map[string]string{cache: host, filepath.Join(cache, host): org} {
		rel, err := filepath.Rel(cache, from)
		if err != nil {
			return "", err
		}
		if err := os.MkdirAll(filepath.Join(to, rel), 0o777); err != nil {
			return "", err
		}
		entries, err := os.ReadDir(from)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		for _, e := range entries {
			if e.Name() == skip || e.Name() == "sumdb" {
				continue
			}
			if err := os.Symlink(filepath.Join(from, e.Name()), filepath.Join(to, rel, e.Name())); err != nil {
				return "", err
			}
		}
	}
	return FileURL(to), nil
}

// FileURL returns the file URL of an absolute path.
func FileURL(p string) string {
	p = filepath.ToSlash(p)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	return "file://" + p
}
