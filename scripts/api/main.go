// Command api writes the exported declarations of each public package of this
// repository into a file in the directory api, one declaration a line. So the
// diff of a commit shows every change of the exported surface.
//
//	api          writes the files
//	api -check   fails if they would change
//
// A line that does not apply to every platform ends in the list of its
// platforms.
//
// It is ours because golang.org/x/exp/apidiff compares two versions and writes
// no text to commit, and Go's own command for this knows only the standard
// library.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/customstatus/customstatus/scripts/internal/tree"
)

func main() {
	check := flag.Bool("check", false, "fail if the files would change")
	flag.Parse()
	if err := run(".", *check, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}

// notLibrary returns the top directories whose packages are not meant for other
// modules.
func notLibrary() []string {
	return []string{"benchmarks", "cmd", "compat", "examples", "scripts", "torture"}
}

func run(dir string, check bool, out io.Writer) error {
	t, err := tree.Load(dir)
	if err != nil {
		return err
	}
	texts, err := texts(t)
	if err != nil {
		return err
	}
	directory := filepath.Join(t.Root, "api")
	if check {
		if err := same(directory, texts); err != nil {
			return err
		}
		fmt.Fprintf(out, "the exported surface of %d packages is as in api/\n", len(texts))
		return nil
	}
	return write(directory, texts, out)
}

// texts returns the content of each file in the directory api, by its name with
// slashes.
func texts(t *tree.Tree) (map[string][]byte, error) {
	var directories []string
	root := ""
	for _, m := range t.Modules {
		if m.IsRoot() {
			root = m.Path
		}
		if first, _, _ := strings.Cut(m.Dir, "/"); !slices.Contains(notLibrary(), first) {
			directories = append(directories, m.Dir)
		}
	}
	if root == "" {
		return nil, errors.New("go.work names no module in the root directory")
	}
	surfaces, err := surfaces(t.Root, directories, platforms())
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for pkg, text := range surfaces {
		inRoot := strings.TrimPrefix(pkg, root+"/")
		if first, _, _ := strings.Cut(inRoot, "/"); slices.Contains(notLibrary(), first) {
			continue
		}
		files[strings.TrimPrefix(pkg, path.Dir(root)+"/")+".txt"] = text
	}
	return files, nil
}

// surfaces returns the text of each public package in or below the directories,
// by import path.
func surfaces(dir string, directories []string, on []platform) (map[string][]byte, error) {
	loaded, failed := make([][]*types.Package, len(on)), make([]error, len(on))
	var all sync.WaitGroup
	for i, p := range on {
		all.Go(func() { loaded[i], failed[i] = load(dir, directories, p) })
	}
	all.Wait()
	names := make(map[string]string)              // import path → name
	where := make(map[string]map[line][]platform) // import path → line → platforms
	for i, p := range on {
		if failed[i] != nil {
			return nil, failed[i] // the other platforms usually fail alike
		}
		for _, pkg := range loaded[i] {
			if where[pkg.Path()] == nil {
				where[pkg.Path()] = make(map[line][]platform)
			}
			names[pkg.Path()] = pkg.Name()
			for _, l := range surfaceOf(pkg) {
				where[pkg.Path()][l] = append(where[pkg.Path()][l], p)
			}
		}
	}
	texts := make(map[string][]byte)
	for pkg, lines := range where {
		texts[pkg] = text(pkg, names[pkg], lines, len(on))
	}
	return texts, nil
}

func text(pkg, name string, lines map[line][]platform, all int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# written by make api\npackage %s // import %q\n\n", name, pkg)
	for _, l := range slices.SortedFunc(maps.Keys(lines), compare) {
		b.WriteString(l.text)
		if on := lines[l]; len(on) < all {
			b.WriteString(" // only")
			for _, p := range on {
				b.WriteString(" " + p.String())
			}
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// write writes the files into the directory and removes the texts of packages
// that no longer exist.
func write(directory string, files map[string][]byte, out io.Writer) error {
	old, err := read(directory)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if files[name] == nil {
			if err := os.Remove(filepath.Join(directory, filepath.FromSlash(name))); err != nil {
				return err
			}
			fmt.Fprintln(out, "removed api/"+name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if old[name] != nil && bytes.Equal(old[name], files[name]) {
			continue
		}
		if err := writeFile(directory, name, files[name]); err != nil {
			return err
		}
		fmt.Fprintln(out, "wrote api/"+name)
	}
	return nil
}

func writeFile(directory, name string, content []byte) error {
	to := filepath.Join(directory, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o666)
}

// read returns the texts in the directory, by their names with slashes.
func read(directory string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	err := filepath.WalkDir(directory, func(name string, entry fs.DirEntry, err error) error {
		if name == directory && errors.Is(err, fs.ErrNotExist) {
			return fs.SkipAll // there is no directory yet
		}
		if err != nil || entry.IsDir() || filepath.Ext(name) != ".txt" {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(directory, name)
		files[filepath.ToSlash(rel)] = content
		return err
	})
	return files, err
}

// same returns an error with the difference if the directory does not have
// exactly these files. Lines with a minus are those of the directory.
func same(directory string, files map[string][]byte) (err error) {
	committed, err := read(directory)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "customstatus-api-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	for side, files := range map[string]map[string][]byte{"committed": committed, "now": files} {
		if err := os.Mkdir(filepath.Join(scratch, side), 0o777); err != nil {
			return err
		}
		for name, content := range files {
			if err := writeFile(filepath.Join(scratch, side), name, content); err != nil {
				return err
			}
		}
	}
	_, err = tree.Run(scratch, nil, "git", "--no-pager", "diff", "--no-index", "--no-ext-diff", "--no-color",
		"--exit-code", "--unified=0", "committed", "now")
	if err != nil {
		return fmt.Errorf("%w\nthe exported surface is not as in api/: run make api and commit the result if the change is meant", err)
	}
	return nil
}
