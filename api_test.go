package standpipe_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the exported API to testdata/api")

// publicPackages are those whose exported API is promised, by their folders.
var publicPackages = []string{".", "msg", "rpc", "topic", "pipetest", "otelpipe", "prompipe"}

// The exported API is a file, so that a change of it is seen in the change itself, and never happens by the way.
func TestAPI(t *testing.T) {
	for _, dir := range publicPackages {
		name := dir
		if dir == "." {
			name = "standpipe"
		}
		t.Run(name, func(t *testing.T) {
			var lines []string
			for _, f := range goFiles(t) {
				if filepath.ToSlash(filepath.Dir(f.path)) == dir && !f.test {
					lines = append(lines, apiOf(f.ast)...)
				}
			}
			slices.Sort(lines)
			lines = slices.Compact(lines)
			got := strings.Join(append(lines, ""), "\n")
			file := filepath.Join("testdata", "api", name+".txt")
			if *update {
				if len(lines) == 0 {
					return
				}
				if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil && (len(lines) > 0 || !os.IsNotExist(err)) {
				t.Fatal(err)
			}
			diffAPI(t, strings.ReplaceAll(string(want), "\r\n", "\n"), got)
		})
	}
}

// Every sentinel has its line in docs/errors.md: when it comes, and what to do.
func TestAPIErrors(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("docs", "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range goFiles(t) {
		if strings.Contains(f.path, "/") || f.test {
			continue
		}
		for _, line := range apiOf(f.ast) {
			name, isVar := strings.CutPrefix(line, "var ")
			name, _, _ = strings.Cut(name, " ")
			if isVar && strings.HasPrefix(name, "Err") && !bytes.Contains(text, []byte("\n| `"+name+"`")) {
				t.Errorf("docs/errors.md does not have %s", name)
			}
		}
	}
}

func diffAPI(t *testing.T, want, got string) {
	t.Helper()
	was, is := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range was {
		if !slices.Contains(is, line) {
			t.Errorf("gone:  %s", line)
		}
	}
	for _, line := range is {
		if !slices.Contains(was, line) {
			t.Errorf("new:   %s", line)
		}
	}
	if t.Failed() {
		t.Log("if this is meant, run `make api`, and write it into CHANGELOG.md")
	}
}

// apiOf is the exported API of one file: a line for each name, field and method.
func apiOf(file *ast.File) []string {
	var lines []string
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if line := apiFunc(d); line != "" {
				lines = append(lines, line)
			}
		case *ast.GenDecl:
			lines = append(lines, apiGen(d)...)
		}
	}
	return lines
}

// apiFunc is the line of a function or method, and "" if it is not exported.
func apiFunc(d *ast.FuncDecl) string {
	if !d.Name.IsExported() {
		return ""
	}
	sig := strings.TrimPrefix(source(&ast.FuncType{TypeParams: d.Type.TypeParams, Params: d.Type.Params, Results: d.Type.Results}), "func")
	if d.Recv == nil {
		return "func " + d.Name.Name + sig
	}
	recv := source(d.Recv.List[0].Type)
	if !ast.IsExported(strings.TrimPrefix(recv, "*")) {
		return ""
	}
	return fmt.Sprintf("method (%s) %s%s", recv, d.Name.Name, sig)
}

// apiGen is the lines of a declaration of constants, variables or types.
func apiGen(d *ast.GenDecl) []string {
	var lines []string
	var of string // the type of a constant that has none of its own
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.ValueSpec:
			if s.Type != nil {
				of = " " + source(s.Type)
			} else if d.Tok == token.VAR || len(s.Values) > 0 {
				of = ""
			}
			for _, name := range s.Names {
				if name.IsExported() {
					lines = append(lines, d.Tok.String()+" "+name.Name+of)
				}
			}
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				lines = append(lines, apiType(s)...)
			}
		}
	}
	return lines
}

func apiType(s *ast.TypeSpec) []string {
	head := "type " + s.Name.Name
	if s.TypeParams != nil {
		params := strings.TrimPrefix(source(&ast.FuncType{TypeParams: s.TypeParams, Params: &ast.FieldList{}}), "func")
		head += strings.TrimSuffix(params, "()")
	}
	if s.Assign.IsValid() {
		head += " ="
	}
	var members *ast.FieldList
	switch u := s.Type.(type) {
	case *ast.StructType:
		head, members = head+" struct", u.Fields
	case *ast.InterfaceType:
		head, members = head+" interface", u.Methods
	default:
		return []string{head + " " + source(s.Type)}
	}
	lines := []string{head}
	for _, m := range members.List {
		text := source(m.Type)
		if fn, ok := m.Type.(*ast.FuncType); ok && len(m.Names) == 1 {
			if _, method := s.Type.(*ast.InterfaceType); method {
				text = strings.TrimPrefix(source(fn), "func")
				lines = append(lines, head+", "+m.Names[0].Name+text)
				continue
			}
		}
		if m.Tag != nil {
			text += " " + m.Tag.Value
		}
		if len(m.Names) == 0 {
			lines = append(lines, head+", embedded "+text)
		}
		for _, name := range m.Names {
			if name.IsExported() {
				lines = append(lines, head+", "+name.Name+" "+text)
			}
		}
	}
	return lines
}

// source prints a piece of syntax on one line.
func source(n ast.Node) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, token.NewFileSet(), n); err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// The printer of the API must not overlook what it is there to see.
func TestAPIPrinter(t *testing.T) {
	const text = `package p
const ( A Code = iota; B; c; D = "x" )
var E, f = 1, 2
type G[T any] struct { H, i int; J func(int) error }
type K interface { L(a int) (b string, err error); M }
type n struct{ O int }
func (n) P() {}
func (g *G[T]) Q() T { return *new(T) }
func R[In, Out any](x In) (Out, error) { panic(0) }
func s() {}
type T = int
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"const A Code", "const B Code", "const D", "var E",
		"type G[T any] struct", "type G[T any] struct, H int", "type G[T any] struct, J func(int) error",
		"type K interface", "type K interface, L(a int) (b string, err error)", "type K interface, embedded M",
		"method (*G[T]) Q() T", "func R[In, Out any](x In) (Out, error)", "type T = int",
	}
	if got := apiOf(file); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
