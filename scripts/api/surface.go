package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/types"
	"slices"
	"strings"
)

// line is one line of the text, with what it is sorted by: constants, variables,
// functions, then each type, its fields, its methods.
type line struct {
	section int
	owner   string // the type that a field or a method belongs to
	member  int
	name    string
	text    string
}

// The sections, and the parts of a type's.
const (
	constants = iota
	variables
	functions
	typesAndMembers
)

const (
	itself = iota
	fields
	methods
)

func compare(a, b line) int {
	return cmp.Or(
		cmp.Compare(a.section, b.section),
		cmp.Compare(a.owner, b.owner),
		cmp.Compare(a.member, b.member),
		cmp.Compare(a.name, b.name),
		cmp.Compare(a.text, b.text),
	)
}

// surface collects what a package exports.
type surface struct {
	pkg   *types.Package
	lines []line
	// Types that cannot be named from outside, but whose fields and methods can
	// be used there, since something exported has that type. Those that are in
	// pending are still to be written.
	hidden  map[*types.TypeName]bool
	pending []*types.TypeName
}

// surfaceOf returns what the package exports, one declaration a line, sorted.
// Names of the package itself are bare, others have their import path in front.
// Names of parameters are there: to swap two of one type is a change.
func surfaceOf(pkg *types.Package) []line {
	s := &surface{pkg: pkg, hidden: make(map[*types.TypeName]bool)}
	scope := pkg.Scope()
	for _, name := range scope.Names() {
		if obj := scope.Lookup(name); obj.Exported() {
			s.object(obj)
		}
	}
	for len(s.pending) > 0 {
		next := s.pending[0]
		s.pending = s.pending[1:]
		s.typeName(next)
	}
	slices.SortFunc(s.lines, compare)
	return slices.Compact(s.lines)
}

func (s *surface) object(obj types.Object) {
	name := obj.Name()
	switch obj := obj.(type) {
	case *types.Const:
		s.add(line{section: constants, name: name}, "const %s %s = %s", name, s.typ(obj.Type()), obj.Val().ExactString())
	case *types.Var:
		s.add(line{section: variables, name: name}, "var %s %s", name, s.typ(obj.Type()))
	case *types.Func:
		s.add(line{section: functions, name: name}, "func %s%s", name, s.signature(obj))
	case *types.TypeName:
		s.typeName(obj)
	}
}

func (s *surface) add(l line, format string, args ...any) {
	l.text = fmt.Sprintf(format, args...)
	s.lines = append(s.lines, l)
}

// typeName adds a type with its fields and methods. Those of an alias are those
// of another type.
func (s *surface) typeName(obj *types.TypeName) {
	owner := s.name(obj)
	head := line{section: typesAndMembers, owner: owner, member: itself}
	if obj.IsAlias() {
		s.visitAlias(obj)
		s.add(head, "%s", types.ObjectString(obj, s.qualify))
		return
	}
	named := obj.Type().(*types.Named)
	s.visitParams(named.TypeParams())
	declared := types.TypeString(named, s.qualify) // with type parameters
	switch u := named.Underlying().(type) {
	case *types.Struct:
		s.add(head, "type %s struct%s", declared, traits(named, u))
		s.fields(named, u)
		s.methods(named)
	case *types.Interface:
		s.iface(head, declared, u)
	default:
		s.add(head, "type %s %s", declared, s.typ(u))
		s.methods(named)
	}
}

func (s *surface) visitAlias(obj *types.TypeName) {
	if alias, ok := obj.Type().(*types.Alias); ok {
		s.visitParams(alias.TypeParams())
		s.visit(alias.Rhs())
	}
}

// traits returns what users of a struct notice beside its fields: whether they
// can compare it, and whether a literal without field names can be written.
func traits(named *types.Named, u *types.Struct) string {
	var b strings.Builder
	for f := range u.Fields() {
		if !f.Exported() {
			b.WriteString(", unexported fields")
			break
		}
	}
	if types.Comparable(named) {
		b.WriteString(", comparable")
	}
	return b.String()
}

// fields adds the fields that named has in the struct u, which is named itself
// or embedded in it under a name that is not exported.
func (s *surface) fields(named *types.Named, u *types.Struct) {
	for i := range u.NumFields() {
		f := u.Field(i)
		if !f.Exported() {
			if inner := embedded(f); inner != nil {
				s.fields(named, inner)
			}
			continue
		}
		// Fields of embedded structs may hide each other.
		if obj, _, _ := types.LookupFieldOrMethod(named, true, s.pkg, f.Name()); obj != f {
			continue
		}
		text := s.typ(f.Type())
		if f.Embedded() {
			text += ", embedded"
		}
		if tag := u.Tag(i); tag != "" {
			text += fmt.Sprintf(", tag %q", tag)
		}
		owner := s.name(named.Obj())
		s.add(line{section: typesAndMembers, owner: owner, member: fields, name: f.Name()}, "field %s.%s %s", owner, f.Name(), text)
	}
}

// embedded returns the struct that f embeds, or nil.
func embedded(f *types.Var) *types.Struct {
	if !f.Embedded() {
		return nil
	}
	t := types.Unalias(f.Type())
	if pointer, ok := t.(*types.Pointer); ok {
		t = pointer.Elem()
	}
	inner, _ := t.Underlying().(*types.Struct)
	return inner
}

// methods adds those of named and those that it gets from what it embeds. One
// that comes through an exported field belongs to that field's type.
func (s *surface) methods(named *types.Named) {
	values := types.NewMethodSet(named)
	for m := range types.NewMethodSet(types.NewPointer(named)).Methods() {
		f := m.Obj().(*types.Func)
		if !f.Exported() || throughExported(named, m.Index()) {
			continue
		}
		receiver := s.name(named.Obj()) + receiverParams(f)
		if values.Lookup(s.pkg, f.Name()) == nil {
			receiver = "*" + receiver
		}
		s.method(named.Obj(), receiver, f)
	}
}

// receiverParams returns the names that the method has for the parameters of its
// type.
func receiverParams(f *types.Func) string {
	var names []string
	for p := range f.Signature().RecvTypeParams().TypeParams() {
		names = append(names, p.Obj().Name())
	}
	if names == nil {
		return ""
	}
	return "[" + strings.Join(names, ", ") + "]"
}

// throughExported reports whether one of the embedded fields on the way to a
// method is exported.
func throughExported(t types.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		if pointer, ok := t.Underlying().(*types.Pointer); ok {
			t = pointer.Elem()
		}
		f := t.Underlying().(*types.Struct).Field(i)
		if f.Exported() {
			return true
		}
		t = f.Type()
	}
	return false
}

func (s *surface) method(owner *types.TypeName, receiver string, f *types.Func) {
	l := line{section: typesAndMembers, owner: s.name(owner), member: methods, name: f.Name()}
	s.add(l, "method (%s) %s%s", receiver, f.Name(), s.signature(f))
}

// iface adds an interface with all of its methods: to embed another is the same
// as to name its methods.
func (s *surface) iface(head line, declared string, u *types.Interface) {
	trait := ""
	if !u.IsMethodSet() { // a constraint: which types it has is part of it
		trait = " " + strings.TrimPrefix(s.typ(u), "interface")
	}
	for m := range u.Methods() {
		if !m.Exported() { // nobody else can implement it
			trait += ", unexported methods"
			break
		}
	}
	s.add(head, "type %s interface%s", declared, trait)
	for m := range u.Methods() {
		if m.Exported() {
			l := line{section: typesAndMembers, owner: head.owner, member: methods, name: m.Name()}
			s.add(l, "method (%s) %s%s", head.owner, m.Name(), s.signature(m))
		}
	}
}

func (s *surface) qualify(p *types.Package) string {
	if p == s.pkg {
		return ""
	}
	return p.Path()
}

func (s *surface) name(obj *types.TypeName) string {
	if path := s.qualify(obj.Pkg()); path != "" {
		return path + "." + obj.Name()
	}
	return obj.Name()
}

func (s *surface) signature(f *types.Func) string {
	signature := f.Signature()
	s.visit(signature)
	var b bytes.Buffer
	types.WriteSignature(&b, signature, s.qualify)
	return b.String()
}

func (s *surface) typ(t types.Type) string {
	s.visit(t)
	return types.TypeString(t, s.qualify)
}

// visit looks for hidden types in t.
func (s *surface) visit(t types.Type) {
	switch t := t.(type) {
	case *types.Alias:
		s.hide(t.Obj())
		s.visitArgs(t.TypeArgs())
	case *types.Named:
		s.hide(t.Obj())
		s.visitArgs(t.TypeArgs())
	case *types.Map:
		s.visit(t.Key())
		s.visit(t.Elem())
	case interface{ Elem() types.Type }: // pointer, slice, array, channel
		s.visit(t.Elem())
	case *types.Signature:
		s.visitParams(t.TypeParams())
		s.visit(t.Params())
		s.visit(t.Results())
	case *types.Tuple:
		for v := range t.Variables() {
			s.visit(v.Type())
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() || f.Embedded() {
				s.visit(f.Type())
			}
		}
	case *types.Interface:
		for m := range t.ExplicitMethods() {
			s.visit(m.Signature())
		}
		for e := range t.EmbeddedTypes() {
			s.visit(e)
		}
	case *types.Union:
		for term := range t.Terms() {
			s.visit(term.Type())
		}
	}
}

func (s *surface) visitArgs(args *types.TypeList) {
	for a := range args.Types() {
		s.visit(a)
	}
}

func (s *surface) visitParams(params *types.TypeParamList) {
	for p := range params.TypeParams() {
		s.visit(p.Constraint())
	}
}

// hide notes a type that has no name outside. The standard library's own secrets
// are left alone: they change with the version of Go.
func (s *surface) hide(obj *types.TypeName) {
	if obj.Pkg() == nil || s.hidden[obj] || obj.Exported() && !internal(obj.Pkg().Path()) || standard(obj.Pkg().Path()) {
		return
	}
	s.hidden[obj] = true
	s.pending = append(s.pending, obj)
}

// standard reports whether the package is one of the standard library: only
// those have no dot in the first element of their path.
func standard(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".")
}
