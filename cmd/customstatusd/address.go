package main

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The kinds of stores.
const (
	kindBolt     = "bolt"
	kindPostgres = "postgres"
	kindEtcd     = "etcd"
)

// address says where a catalog is.
type address struct {
	kind string // one of the above
	path string // of a bbolt file, as it was given

	// The other kinds are URLs, whose hosts may be several.
	user, password string // as they are, without escapes
	hosts          string // separated by commas
	name           string // the path without the first slash
	params         url.Values
}

// defaultDatabase is where the catalog is if nothing is said.
const defaultDatabase = "customstatus.db"

func fileAt(path string) address { return address{kind: kindBolt, path: path} }

// shared reports whether several servers can have the store open.
func (a address) shared() bool { return a.kind != kindBolt }

// isURL reports whether a path looks like the address of something on a server, which may
// have a password. ./a://b is a path.
func isURL(path string) bool {
	scheme, _, found := strings.Cut(path, "://")
	return found && !strings.Contains(scheme, "/")
}

// parseAddress reads the address of a store. Its errors never contain the password.
func parseAddress(text string) (address, error) {
	if path, ok := strings.CutPrefix(text, kindBolt+":"); ok {
		if path == "" {
			return address{}, errors.New("bolt: names no file")
		}
		if isURL(path) {
			return address{}, errNotAFile
		}
		return fileAt(path), nil
	}
	scheme, rest, _ := strings.Cut(text, "://")
	a := address{kind: scheme}
	if scheme == "postgresql" {
		a.kind = kindPostgres
	}
	if a.kind != kindPostgres && a.kind != kindEtcd {
		return address{}, errors.New("a store is bolt:PATH, postgres://USER@HOST:PORT/DATABASE or etcd://HOST:PORT,HOST:PORT/PREFIX")
	}
	if err := checkEscapes(rest); err != nil {
		return address{}, err
	}
	rest, query, _ := strings.Cut(rest, "?")
	params, err := url.ParseQuery(strings.ReplaceAll(query, "+", "%2B")) // a plus is no space, as in libpq
	if err != nil || strings.Contains(rest, "#") {
		return address{}, errors.New("the parameters behind the ? can't be read")
	}
	for _, values := range params {
		if len(values) > 1 {
			return address{}, errors.New("a parameter behind the ? is there twice")
		}
	}
	a.params = params
	authority, name, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, password, _ := strings.Cut(authority[:i], ":")
		var errs [2]error
		a.user, errs[0] = url.PathUnescape(user)
		a.password, errs[1] = url.PathUnescape(password)
		if errors.Join(errs[:]...) != nil {
			return address{}, errors.New("the user or the password has a % that is no escape")
		}
		authority = authority[i+1:]
	}
	if a.hosts = authority; !areHosts(authority) {
		return address{}, errors.New("a host is NAME, NAME:PORT or [IPV6]:PORT, and a port is a number; in a password, write / as %2F, ? as %3F and @ as %40")
	}
	if a.name, err = url.PathUnescape(name); err != nil {
		return address{}, errors.New("the path has a % that is no escape")
	}
	if a.kind == kindEtcd {
		return a, a.checkEtcd()
	}
	return a, nil
}

// checkEscapes refuses an address that ends its host where its writer may not have meant
// to: a part of a password would become a name, which logs show.
func checkEscapes(rest string) error {
	end := strings.IndexAny(rest, "/?")
	switch {
	case end < 0:
		return nil
	case strings.Contains(rest[end:], "@"):
		return errors.New("an @ is behind the first / or ?; in a password, write / as %2F and ? as %3F, and elsewhere @ as %40")
	case strings.Contains(rest[end:], ";"):
		return errors.New("a ; is behind the hosts; parameters follow a ? and have & between them; elsewhere, write ; as %3B")
	}
	return nil
}

// areHosts reports whether text can be hosts with their ports, separated by commas.
// Without it, what is in front of a forgotten @ would be a host, which logs show.
func areHosts(text string) bool {
	for host := range strings.SplitSeq(text, ",") {
		name, port, found := strings.Cut(host, ":")
		if strings.HasPrefix(host, "[") {
			name, port, found = strings.Cut(host, "]:")
			if !found && !strings.HasSuffix(host, "]") {
				return false
			}
		}
		if !found {
			continue
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil || strings.Contains(name, "@") {
			return false
		}
	}
	return true
}

// etcdParams are the parameters of an etcd address.
var etcdParams = []string{"ca", "cert", "key", "password-file", "tls"}

func (a address) checkEtcd() error {
	if a.hosts == "" || slices.Contains(strings.Split(a.hosts, ","), "") {
		return errors.New("etcd:// needs HOST:PORT, or several separated by commas")
	}
	for name, values := range a.params {
		if !slices.Contains(etcdParams, name) || values[0] == "" {
			return fmt.Errorf("an etcd address takes the parameters %s, and each needs a value", strings.Join(etcdParams, ", "))
		}
	}
	if tls := a.params.Get("tls"); tls != "" && tls != "true" && tls != "false" {
		return errors.New("tls is true or false")
	}
	if (a.params.Get("cert") == "") != (a.params.Get("key") == "") {
		return errors.New("cert and key go together")
	}
	if a.user == "" && (a.password != "" || a.params.Get("password-file") != "") {
		return errors.New("there is a password, but no user")
	}
	return nil
}

// passwordParams are parameters of a PostgreSQL address that are secrets.
var passwordParams = []string{"password", "sslpassword"}

// hasPassword reports whether the address itself has a password.
func (a address) hasPassword() bool {
	for name := range a.params {
		if slices.Contains(passwordParams, strings.ToLower(name)) {
			return true
		}
	}
	return a.password != ""
}

// String returns the address without passwords and parameters.
func (a address) String() string {
	if !a.shared() {
		return a.path
	}
	user := ""
	if a.user != "" {
		user = url.PathEscape(a.user) + "@"
	}
	return a.kind + "://" + user + a.hosts + "/" + (&url.URL{Path: a.name}).EscapedPath()
}

// dsn returns a PostgreSQL address as pgx reads it, without the parameters that are
// not pgx's.
func (a address) dsn(own ...string) string {
	params := make(url.Values)
	for name, values := range a.params {
		if !slices.Contains(own, name) {
			params[name] = values
		}
	}
	user := ""
	switch {
	case a.password != "":
		user = url.UserPassword(a.user, a.password).String() + "@"
	case a.user != "":
		user = url.User(a.user).String() + "@"
	}
	dsn := "postgres://" + user + a.hosts + "/" + url.PathEscape(a.name)
	if len(params) > 0 {
		dsn += "?" + strings.ReplaceAll(params.Encode(), "+", "%20") // pgx takes a plus as one
	}
	return dsn
}

// passwordOf returns the password of an etcd address, which may be in a file.
func (a address) passwordOf() (string, error) {
	file := a.params.Get("password-file")
	if file == "" {
		return a.password, nil
	}
	text, err := readNamed(file)
	if err != nil {
		return "", fmt.Errorf("password-file: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}
