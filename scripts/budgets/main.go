// Command budgets checks the rules that keep this repository easy to read: the
// length of files, the length of the root package, and the direction of
// imports. It is ours because these rules are this repository's own.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/customstatus/customstatus/scripts/internal/tree"
)

// The budgets, in lines with comments.
const (
	fileLines     = 500
	testFileLines = 700
	packageLines  = 2500 // of the root package without its tests; it is to shrink, and must not grow
)

func main() {
	flag.Parse()
	if err := run(".", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "budgets:", err)
		os.Exit(1)
	}
}

func run(dir string, out io.Writer) error {
	t, err := tree.Load(dir)
	if err != nil {
		return err
	}
	files, root, err := read(t)
	if err != nil {
		return err
	}
	over := append(tooLong(files), climbing(files, root)...)
	for _, text := range over {
		fmt.Fprintln(out, text)
	}
	if len(over) > 0 {
		return fmt.Errorf("%d times over", len(over))
	}
	fmt.Fprintf(out, "%d files keep the budgets\n", len(files))
	return nil
}

// file is a Go file of the repository.
type file struct {
	name      string // from the root, with slashes
	lines     int
	generated bool // for no reader
	imports   []string
}

func (f file) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// below reports whether the file is in the directory or below it.
func (f file) below(directory string) bool { return strings.HasPrefix(f.name, directory+"/") }

// read returns the Go files of all modules, sorted by name, and the path of the
// root module.
func read(t *tree.Tree) (files []file, root string, err error) {
	for _, m := range t.Modules {
		if m.IsRoot() {
			root = m.Path
		}
		for _, rel := range m.Files {
			if path.Ext(rel) != ".go" {
				continue
			}
			f := file{name: path.Join(m.Dir, rel)}
			source, err := os.ReadFile(filepath.Join(t.Root, filepath.FromSlash(f.name)))
			if err != nil {
				return nil, "", err
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), f.name, source, parser.ImportsOnly|parser.ParseComments)
			if err != nil {
				return nil, "", err
			}
			for _, i := range parsed.Imports {
				imported, err := strconv.Unquote(i.Path.Value)
				if err != nil {
					return nil, "", err
				}
				f.imports = append(f.imports, imported)
			}
			f.lines = bytes.Count(source, []byte("\n"))
			f.generated = ast.IsGenerated(parsed)
			files = append(files, f)
		}
	}
	if root == "" {
		return nil, "", errors.New("go.work names no module in the root directory")
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return files, root, nil
}

// tooLong returns a text for each file, and for the root package, with too many
// lines.
func tooLong(files []file) (over []string) {
	whole := 0
	for _, f := range files {
		most := fileLines
		if f.isTest() {
			most = testFileLines
		} else if path.Dir(f.name) == "." {
			whole += f.lines
		}
		if f.lines > most && !f.generated {
			over = append(over, fmt.Sprintf("%s has %d lines, at most %d are allowed", f.name, f.lines, most))
		}
	}
	if whole > packageLines {
		over = append(over, fmt.Sprintf("the root package has %d lines without its tests, at most %d are allowed", whole, packageLines))
	}
	return over
}

// climbing returns a text for each import that goes the wrong way.
func climbing(files []file, root string) (over []string) {
	tokens, command := root+"/httpadapter/tokenauth", root+"/cmd"
	packages := packagesOf(files, root)
	for _, f := range files {
		inAdapter := f.below("httpadapter") && !f.below("httpadapter/tokenauth") && !f.isTest()
		for _, imported := range f.imports {
			switch {
			case f.below("internal") && packages[imported]:
				over = append(over, fmt.Sprintf("%s imports %s: nothing in internal may import a public package of this module", f.name, imported))
			case inAdapter && (within(imported, tokens) || within(imported, command)):
				over = append(over, fmt.Sprintf("%s imports %s: httpadapter has to do without", f.name, imported))
			}
		}
	}
	return over
}

// packagesOf returns the public packages of the repository, by their import path.
func packagesOf(files []file, root string) map[string]bool {
	public := make(map[string]bool)
	for _, f := range files {
		if directory := path.Dir(f.name); !slices.Contains(strings.Split(directory, "/"), "internal") {
			public[path.Join(root, directory)] = true
		}
	}
	return public
}

// within reports whether the import path is the given package or below it.
func within(imported, directory string) bool {
	return imported == directory || strings.HasPrefix(imported, directory+"/")
}
