package tree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// WriteProxy writes a module proxy of the modules into the directory dir and
// returns the URL for GOPROXY.
func (t *Tree) WriteProxy(dir string) (string, error) {
	for _, m := range t.Modules {
		if err := t.writeModule(dir, m); err != nil {
			return "", fmt.Errorf("%s: %w", m.Path, err)
		}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return FileURL(abs), nil
}

func (t *Tree) writeModule(proxy string, m Module) error {
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		return err
	}
	version, err := module.EscapeVersion(t.Version)
	if err != nil {
		return err
	}
	dir := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	mod, err := os.ReadFile(t.file(m, "go.mod").name)
	if err != nil {
		return err
	}
	info, err := json.Marshal(struct{ Version string }{t.Version})
	if err != nil {
		return err
	}
	zipped, err := t.zip(m)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"list":            []byte(t.Version + "\n"),
		version + ".info": info,
		version + ".mod":  mod,
		version + ".zip":  zipped,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// zip returns the zip of the module. A nested module without a license gets the
// license of the root, as the go command does for the zip of a commit; package
// zip does not do that. [zip.CreateFromVCS] leaves out files that are not
// committed yet.
func (t *Tree) zip(m Module) ([]byte, error) {
	var files []zip.File
	licensed := false
	for _, name := range m.Files {
		files = append(files, t.file(m, name))
		licensed = licensed || name == "LICENSE"
	}
	license := file{path: "LICENSE", name: filepath.Join(t.Root, "LICENSE")}
	if _, err := license.Lstat(); err == nil && !licensed {
		files = append(files, license)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var buf bytes.Buffer
	err := zip.Create(&buf, module.Version{Path: m.Path, Version: t.Version}, files)
	return buf.Bytes(), err
}

// file is a file of a module. It implements [zip.File].
type file struct {
	path string // in the module, with slashes
	name string // on the disk
}

func (f file) Path() string                 { return f.path }
func (f file) Lstat() (fs.FileInfo, error)  { return os.Lstat(f.name) }
func (f file) Open() (io.ReadCloser, error) { return os.Open(f.name) }

func (t *Tree) file(m Module, path string) file {
	return file{path: path, name: filepath.Join(t.Root, filepath.FromSlash(m.Dir), filepath.FromSlash(path))}
}
