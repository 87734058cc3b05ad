package storetest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every case quotes the contract exactly, and every sentence of the contract
// has a case or a reason why it has none.
func TestCasesCoverTheContract(t *testing.T) {
	const (
		definition = "says what it is"
		catalog    = "binds the catalog or another caller"
		allows     = "allows, and forbids nothing"
	)
	unchecked := map[string]string{
		"A Store keeps a catalog's statuses durably.":                                               definition,
		"This comment is the whole contract:":                                                       definition,
		"a [Catalog] relies on nothing else, and package storetest checks it sentence by sentence.": definition,
		"A SharedStore is a [Store] that has other writers too, such as a store on a cluster.":      definition,
		"Contents are what a [Store] holds at one instant.":                                         definition,
		"Change is what a commit does to one status.":                                               definition,
		"Commit is a set of changes that were made together.":                                       definition,
		"Before is the status before the change:":                                                   definition,
		"After is the status after the change:":                                                     definition,
		"[OpenShared] opens a catalog over a SharedStore;":                                          catalog,
		"Watch alone feeds the catalog.":                                                            catalog,
		"Before is the whole status as the store returned it.":                                      catalog,
		"Before is the zero value.":                                                                 catalog,
		"After is the zero value.":                                                                  catalog,
		"the zero value if Kind is [Created].":                                                      catalog,
		"the zero value if Kind is [Deleted].":                                                      catalog,
		"A [Catalog] always sets it;":                                                               catalog,
		"a [SharedStore] may leave it out.":                                                         catalog,
		"a shared store may leave numbers out.":                                                     allows,
		"Strings are immutable and may be shared.":                                                  allows,
		"A store that keeps the fingerprint saves its catalog the computation.":                     allows,
		"Errors wrap the sentinels of this package and may also wrap their cause.":                  "every case uses errors.Is",
		"If a store can't, every later commit returns [ErrNeedsReopen] and the reason.":             "takes a fault",
		"A store that can lose commits compares all of Before:":                                     "takes a failover",
		"a revision may come again.":                                                                "takes a failover",
		"Rewound says that the store holds another history than the one it has told of.":            "takes a failover",
		"[ErrDamaged] is returned when statuses are not as they were committed;":                    "takes damage",
		"Load never returns a wrong status and never omits one.":                                    "every case loads, but only the author can test damage",
	}
	whole := contract(t, "../store.go", "Store", "SharedStore", "Contents", "Change", "Commit")

	var quoted []string
	for _, c := range slices.Concat(exclusiveCases(), sharedCases()) {
		for part := range strings.SplitSeq(c.says, " … ") {
			require.Contains(t, whole, part, c.name)
			quoted = append(quoted, part)
		}
	}
	for _, s := range regexp.MustCompile(`.+?[.:;]\)?(?: |$)`).FindAllString(whole, -1) {
		s = strings.TrimSpace(s)
		covered := slices.ContainsFunc(quoted, func(q string) bool { return strings.Contains(q, s) || strings.Contains(s, q) })
		if unchecked[s] == "" && !covered {
			t.Errorf("no case checks %q", s)
		}
		unchecked[s] += " (it is there)"
	}
	for s, why := range unchecked {
		require.Contains(t, why, "(it is there)", "not in the contract any more: %s", s)
	}
}

// The names of the cases are unique, and the basic cases come first.
func TestCasesAreInOrder(t *testing.T) {
	for _, cases := range [][]testCase{exclusiveCases(), sharedCases()} {
		names := make(map[string]bool)
		basic := true
		for _, c := range cases {
			require.False(t, names[c.name], c.name)
			names[c.name] = true
			require.False(t, c.basic && !basic, "%s comes after cases that are not basic", c.name)
			basic = c.basic
		}
	}
}

// contract returns the comments of types, fields and methods as one line.
func contract(t *testing.T, file string, types ...string) string {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	require.NoError(t, err)
	var text strings.Builder
	for _, d := range f.Decls {
		d, ok := d.(*ast.GenDecl)
		if !ok || d.Tok != token.TYPE {
			continue
		}
		spec := d.Specs[0].(*ast.TypeSpec)
		if !slices.Contains(types, spec.Name.Name) {
			continue
		}
		text.WriteString(d.Doc.Text())
		var parts *ast.FieldList
		switch s := spec.Type.(type) {
		case *ast.InterfaceType:
			parts = s.Methods
		case *ast.StructType:
			parts = s.Fields
		}
		for _, part := range parts.List {
			text.WriteString("\n\n" + part.Doc.Text())
		}
	}
	marks := regexp.MustCompile(`(?m)^#.*$|^ *- `) // of headings and lists
	return strings.Join(strings.Fields(marks.ReplaceAllString(text.String(), "")), " ")
}
