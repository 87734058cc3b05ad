// Command vuln runs govulncheck on each module of this checkout. It treats a
// module as a user does who has the module alone. It fails if a module can
// reach a known vulnerability of another module.
//
//	vuln           looks in the database of the version below
//	vuln -latest   looks in the newest database, and says its version
//
// It prints vulnerabilities of the standard library but does not fail, because
// the builder of a program chooses the version of Go. It also prints
// vulnerabilities that are required or imported, but not reachable. It ignores
// the code of tests, which reads no foreign input.
//
// The database is the module golang.org/x/vulndb, so that a machine needs only
// a module proxy. The command is ours because govulncheck alone fails for the
// standard library too, and reports success with an empty database.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/module"

	"github.com/customstatus/customstatus/scripts/internal/tree"
)

// The database. The version is fixed so that the result does not depend on the
// day.
const (
	database    = "golang.org/x/vulndb"
	version     = "v0.0.0-20261105234957-e22db6528018"
	checksum    = "h1:mfngRv0Yoh0VApsXKEN82CjD99kl7mtparN3bs3JnqI="
	inDatabase  = "data/osv" // the directory of the entries in the module
	fewestKnown = 1000       // least number of entries; 4,789 in November 2026
)

func main() {
	latest := flag.Bool("latest", false, "look in the newest database")
	flag.Parse()
	err := tree.FromOutside(".", func(t *tree.Tree, env []string, scratch string) error {
		known, err := download(*latest, scratch, os.Stdout)
		if err != nil {
			return err
		}
		return checkAll(t, env, scratch, known, os.Stdout)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

// download returns the directory with the entries of the database.
func download(latest bool, scratch string, out io.Writer) (string, error) {
	wanted := version
	if latest {
		wanted = "latest"
	}
	env := append(os.Environ(), "GOWORK=off")
	if !latest { // the checksum above replaces the checksum database
		env = append(env, "GONOSUMDB="+database)
	}
	printed, err := tree.Run(scratch, env, "go", "mod", "download", "-json", database+"@"+wanted)
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, printed)
	}
	var got struct{ Version, Dir, Sum string }
	if err := json.Unmarshal([]byte(printed), &got); err != nil {
		return "", err
	}
	if !latest && got.Sum != checksum {
		return "", fmt.Errorf("%s@%s has the checksum %s, want %s", database, version, got.Sum, checksum)
	}
	at, err := module.PseudoVersionTime(got.Version)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(got.Dir, filepath.FromSlash(inDatabase))
	entries, err := filepath.Glob(filepath.Join(dir, "GO-*.json"))
	if err != nil {
		return "", err
	}
	if len(entries) < fewestKnown {
		return "", fmt.Errorf("%s has %d entries in %s, want at least %d", database, len(entries), inDatabase, fewestKnown)
	}
	fmt.Fprintf(out, "%d known vulnerabilities as of %s\n", len(entries), at.Format("2006-01-02"))
	if latest {
		fmt.Fprintf(out, "%s %s %s\n", database, got.Version, got.Sum)
	}
	return dir, nil
}

// checkAll checks each module against the database entries in the directory
// known.
func checkAll(t *tree.Tree, env []string, scratch, known string, out io.Writer) error {
	path, err := tree.Run(t.Root, nil, "go", "-C", filepath.Join(t.Root, "scripts"), "tool", "-n", "govulncheck")
	if err != nil {
		return err
	}
	var failed []error
	standard := newStandard()
	for i, m := range t.Modules {
		dir := filepath.Join(scratch, fmt.Sprint("module", i))
		if err := t.Copy(m, dir); err != nil {
			return err
		}
		r, err := check(strings.TrimSpace(path), dir, env, known)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
		fmt.Fprintln(out, "vuln", m.Path)
		if reached := r.print(out); reached > 0 {
			failed = append(failed, fmt.Errorf("%s reaches %d known vulnerabilities of what it requires", m.Path, reached))
		}
		standard.add(m.Path, r)
	}
	standard.print(out)
	return errors.Join(failed...)
}

// check returns the findings of govulncheck for the module in the directory
// dir. The directory known has the entries of the database.
func check(govulncheck, dir string, env []string, known string) (report, error) {
	printed, err := tree.Run(dir, env, govulncheck, "-format", "json", "-db", tree.FileURL(known), "./...")
	if err != nil {
		return report{}, err
	}
	return read(strings.NewReader(printed))
}
