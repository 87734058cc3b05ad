package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/customstatus/customstatus/scripts/internal/tree"
)

// platform is a platform for which the packages are read.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// platforms returns the platforms that build constraints most often name. One
// of them has a 32-bit int.
func platforms() []platform {
	return []platform{{"linux", "amd64"}, {"darwin", "arm64"}, {"linux", "386"}, {"windows", "amd64"}}
}

// listed is the output of "go list" for one package.
type listed struct {
	ImportPath, Name, Dir string
	GoFiles               []string
	ImportMap             map[string]string
	DepOnly, Standard     bool
	Module                *struct{ Path, GoVersion string }
}

// public reports whether other modules can import the package.
func (p listed) public() bool { return p.Name != "main" && !internal(p.ImportPath) }

func internal(pkg string) bool {
	return strings.Contains("/"+pkg+"/", "/internal/")
}

// loader type-checks packages from source. It does not use the compiler's
// export data, because the standard library would first have to be compiled for
// each platform.
type loader struct {
	dir      string
	platform platform
	fset     *token.FileSet
	sizes    types.Sizes
	listed   map[string]listed
	own      map[string]bool // the modules that are checked in full
	checked  map[string]checked
	failures []string
}

type checked struct {
	pkg *types.Package
	err error
}

var errDoesNotCompile = errors.New("does not compile")

// load returns the public packages in or below the directories, which are
// relative to dir, for the platform. It fails if a package, or an imported
// package of the same modules, does not compile.
func load(dir string, directories []string, p platform) ([]*types.Package, error) {
	l := &loader{
		dir: dir, platform: p,
		fset:    token.NewFileSet(),
		sizes:   types.SizesFor("gc", p.arch),
		listed:  make(map[string]listed),
		own:     make(map[string]bool),
		checked: map[string]checked{"unsafe": {pkg: types.Unsafe}},
	}
	named, err := l.list(directories)
	if err != nil {
		return nil, err
	}
	var packages []*types.Package
	for _, name := range named {
		if !l.listed[name].public() {
			continue
		}
		if c := l.check(name); c.err == nil {
			packages = append(packages, c.pkg)
		} else if !errors.Is(c.err, errDoesNotCompile) {
			return nil, c.err
		}
	}
	if len(l.failures) > 0 {
		return nil, fmt.Errorf("for %s:\n%s", p, strings.Join(l.failures, "\n"))
	}
	return packages, nil
}

// list returns the packages in or below the directories, and records these
// packages and all that they import. The result does not depend on the machine
// or on the user's settings for the go command.
func (l *loader) list(directories []string) ([]string, error) {
	args := []string{"list", "-deps", "-json=ImportPath,Name,Dir,GoFiles,ImportMap,DepOnly,Standard,Module"}
	for _, f := range directories {
		args = append(args, "./"+path.Join(f, "..."))
	}
	env := append(os.Environ(), "GOOS="+l.platform.os, "GOARCH="+l.platform.arch, "CGO_ENABLED=0",
		"GOFLAGS=-buildvcs=false", "GOEXPERIMENT=")
	out, err := tree.Run(l.dir, env, "go", args...)
	if err != nil {
		return nil, err
	}
	var named []string
	for decoder := json.NewDecoder(strings.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return named, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		l.listed[p.ImportPath] = p
		if !p.DepOnly {
			named = append(named, p.ImportPath)
			if p.Module != nil {
				l.own[p.Module.Path] = true
			}
		}
	}
}

// check type-checks the package and all that it imports. It skips the function
// bodies of other modules, which take most of the time.
func (l *loader) check(name string) checked {
	if c, ok := l.checked[name]; ok {
		return c
	}
	c := l.typeCheck(name)
	l.checked[name] = c
	return c
}

func (l *loader) typeCheck(name string) checked {
	p, ok := l.listed[name]
	if !ok {
		return checked{err: fmt.Errorf("go list does not know the package %s, which another imports", name)}
	}
	var files []*ast.File
	for _, f := range p.GoFiles {
		parsed, err := parser.ParseFile(l.fset, filepath.Join(p.Dir, f), nil, parser.SkipObjectResolution)
		if err != nil {
			return l.fail(name, []error{err})
		}
		files = append(files, parsed)
	}
	own := p.Module != nil && l.own[p.Module.Path]
	var found []error
	var missing error
	config := types.Config{
		Sizes:            l.sizes,
		IgnoreFuncBodies: !own,
		Error:            func(err error) { found = append(found, err) },
		Importer: importer(func(imported string) (*types.Package, error) {
			if mapped, ok := p.ImportMap[imported]; ok {
				imported = mapped
			}
			c := l.check(imported)
			if c.err != nil {
				missing = c.err
			}
			return c.pkg, c.err
		}),
	}
	if p.Module != nil && p.Module.GoVersion != "" {
		config.GoVersion = "go" + p.Module.GoVersion
	}
	pkg, _ := config.Check(name, l.fset, files, nil) // found has the error
	if missing != nil {
		return checked{err: missing} // other errors may only follow from this one
	}
	if len(found) > 0 {
		return l.fail(name, found)
	}
	return checked{pkg: pkg}
}

// shown is the number of errors that are listed for one package.
const shown = 5

func (l *loader) fail(name string, found []error) checked {
	var text strings.Builder
	fmt.Fprintf(&text, "%s does not compile:", name)
	for i, err := range found {
		if i == shown {
			fmt.Fprintf(&text, "\n\tand %d more", len(found)-shown)
			break
		}
		message := strings.ReplaceAll(err.Error(), l.dir+string(filepath.Separator), "")
		fmt.Fprintf(&text, "\n\t%s", message)
	}
	l.failures = append(l.failures, text.String())
	return checked{err: errDoesNotCompile}
}

type importer func(string) (*types.Package, error)

func (i importer) Import(name string) (*types.Package, error) { return i(name) }
