package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/types"
	"slices"
	"strings"
)

// line is a line of the text with its sort keys. Constants come first, then
// variables, functions, and each type with its fields and methods.
type line struct {
	section int
	owner   string // the type of a field or method
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

// surface collects the exported declarations of a package.
type surface struct {
	pkg   *types.Package
	lines []line
	// hidden has the types that other packages can't name but can use, because
	// something exported has the type. Those in pending are still to be
	// written.
	hidden  map[*types.TypeName]bool
	pending []*types.TypeName
}

// surfaceOf returns the package's exported declarations as sorted lines. Names
// of other packages have their import path in front. Parameters have their
// names, because swapping two parameters of the same type is a change.
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

// typeName adds a type with its fields and methods. An alias has no lines for
// fields and methods, because they belong to another type.
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

// traits returns the properties of a struct that users notice apart from the
// fields: whether it is comparable, and whether it has unexported fields.
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

// fields adds the fields that named has from the struct u. The struct is that
// of named itself, or one embedded in it under an unexported name.
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

// embedded returns the struct that f embeds, or nil if there is none.
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

// methods adds the methods of named, promoted ones included. A method promoted
// through an exported field belongs to the type of that field.
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

// receiverParams returns the method's names for the type parameters of its
// receiver.
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

// throughExported reports whether a method is promoted through an exported
// field.
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

// iface adds an interface with all its methods. The methods of an embedded
// interface count as its own.
func (s *surface) iface(head line, declared string, u *types.Interface) {
	trait := ""
	if !u.IsMethodSet() { // a constraint includes its types
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

// visit finds the hidden types in t.
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

// hide records a type that other packages can't name. It ignores the types of
// the standard library, which change with the version of Go.
func (s *surface) hide(obj *types.TypeName) {
	if obj.Pkg() == nil || s.hidden[obj] || obj.Exported() && !internal(obj.Pkg().Path()) || standard(obj.Pkg().Path()) {
		return
	}
	s.hidden[obj] = true
	s.pending = append(s.pending, obj)
}

// standard reports whether the package is in the standard library: only its
// packages have no dot in the first element of the path.
func standard(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".")
}
