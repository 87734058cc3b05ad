package docs

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// root is the directory of the repository.
const root = "../.."

// ofThisTree keeps go test from showing a result of other pages or other programs. It
// looks only at files of this module, and at variables; scripts/test sets this one.
func ofThisTree() { os.Getenv("CUSTOMSTATUS_TREE") }

// files returns the names of the files that git has or would add, from the root.
func files(t *testing.T, patterns ...string) []string {
	t.Helper()
	ofThisTree()
	out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", root, "ls-files", "--cached", "--others", "--exclude-standard", "--"}, patterns...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range strings.Lines(string(out)) {
		name = strings.TrimSuffix(name, "\n")
		if _, err := os.Stat(filepath.Join(root, name)); err == nil && !strings.Contains(name, "testdata/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block is a part of a page between fences.
type block struct {
	page, language string
	line           int
	text           string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// parse splits a page into its blocks and the prose between them.
func parse(page, text string) (blocks []block, prose string) {
	var rest strings.Builder
	var open *block
	indent, number := "", 0
	for line := range strings.Lines(text) {
		number++
		trimmed := strings.TrimLeft(line, " ")
		fence, isFence := strings.CutPrefix(trimmed, "```")
		switch {
		case isFence && open == nil:
			indent = line[:len(line)-len(trimmed)]
			open = &block{page: page, language: strings.TrimSpace(fence), line: number}
		case isFence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent)
		default:
			rest.WriteString(line)
		}
	}
	return blocks, rest.String()
}

// pages returns the Markdown files.
func pages(t *testing.T) []string {
	names := files(t, "*.md")
	return slices.DeleteFunc(names, func(name string) bool { return strings.Contains(name, "/vendor/") })
}

func blocks(t *testing.T, languages ...string) (all []block) {
	for _, page := range pages(t) {
		found, _ := parse(page, read(t, page))
		for _, b := range found {
			if slices.Contains(languages, b.language) {
				all = append(all, b)
			}
		}
	}
	return all
}

func TestREADMEIsShort(t *testing.T) {
	const most = 1200
	if words := len(strings.Fields(read(t, "README.md"))); words >= most {
		t.Errorf("README.md has %d words, fewer than %d are allowed", words, most)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	code    = regexp.MustCompile("`[^`\n]*`")
)

// anchors returns the names that GitHub gives to the headings of a page.
func anchors(text string) map[string]bool {
	_, prose := parse("", text)
	all := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(prose, -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])
		for n, unique := 1, name; ; n++ {
			if !all[unique] {
				all[unique] = true
				break
			}
			unique = fmt.Sprint(name, "-", n)
		}
	}
	return all
}

// TestLinks follows the links that stay in the repository. Each page of docs has one.
func TestLinks(t *testing.T) {
	linked := make(map[string]bool)
	for _, page := range pages(t) {
		_, prose := parse(page, read(t, page))
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(prose, "``"), -1) {
			target := m[1] + m[2]
			to, err := url.Parse(target)
			if err != nil {
				t.Errorf("%s: %s: %v", page, target, err)
				continue
			}
			if to.Scheme != "" {
				continue
			}
			name := page
			if to.Path != "" {
				name = filepath.ToSlash(filepath.Join(filepath.Dir(page), to.Path))
			}
			linked[name] = linked[name] || name != page
			info, err := os.Stat(filepath.Join(root, name))
			switch {
			case err != nil:
				t.Errorf("%s: %s leads nowhere", page, target)
			case to.Fragment == "":
			case info.IsDir() || !strings.HasSuffix(name, ".md") || !anchors(read(t, name))[to.Fragment]:
				t.Errorf("%s: %s has no such heading", page, target)
			}
		}
	}
	for _, page := range pages(t) {
		if strings.HasPrefix(page, "docs/") && !linked[page] {
			t.Errorf("no page has a link to %s", page)
		}
	}
}

// codeLines returns the lines of a text without indentation and empty lines.
func codeLines(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// within reports whether the lines of a snippet stand in a file in this order. A snippet
// may leave lines out.
func within(snippet, file []string) bool {
	for _, line := range file {
		if len(snippet) > 0 && snippet[0] == line {
			snippet = snippet[1:]
		}
	}
	return len(snippet) == 0
}

// TestSnippets: each snippet of Go stands in a file that is compiled, and each of
// JavaScript in a page that a browser runs. Tests of compat/clients run the recipes of
// docs/clients.md.
func TestSnippets(t *testing.T) {
	for language, patterns := range map[string][]string{"go": {"*.go"}, "js": {"*.html", "*.js"}} {
		var sources [][]string
		for _, name := range files(t, patterns...) {
			sources = append(sources, codeLines(read(t, name)))
		}
		for _, b := range blocks(t, language) {
			snippet := codeLines(b.text)
			found := slices.ContainsFunc(sources, func(source []string) bool { return within(snippet, source) })
			if !found && (language == "go" || b.page != "docs/clients.md") {
				t.Errorf("%v: no file has the lines of this snippet:\n%s", b, b.text)
			}
		}
	}
}

// TestNoPrompts: commands paste as they are, and the shell can read them.
func TestNoPrompts(t *testing.T) {
	for _, b := range blocks(t, "sh", "console", "bash") {
		for line := range strings.Lines(b.text) {
			if strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "> ") {
				t.Errorf("%v: a prompt: %s", b, line)
			}
		}
		check := exec.CommandContext(t.Context(), "bash", "-n")
		check.Stdin = strings.NewReader(b.text)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", b, err, out)
		}
	}
}
