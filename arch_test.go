package standpipe_test

import (
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/standpipe/standpipe"

// house is the import graph. A room uses the public API of the rooms before it, and nothing else of ours; only msg has
// private doors, to memory. The second list is what a room may import from outside the standard library.
var house = map[string]struct{ ours, others []string }{
	".":             {nil, []string{"golang.org/x/sys"}},
	"internal/mem":  {[]string{"."}, []string{"golang.org/x/sys"}},
	"internal/ring": {[]string{"internal/mem"}, []string{"golang.org/x/sys"}},
	"msg":           {[]string{".", "internal/mem", "internal/ring"}, nil},
	"rpc":           {[]string{".", "msg"}, []string{"github.com/ugorji/go/codec", "google.golang.org/protobuf"}},
	"topic":         {[]string{".", "msg", "rpc"}, nil},
	"pipetest":      {[]string{".", "msg", "rpc", "topic"}, []string{"golang.org/x/net", "golang.org/x/sys"}},
	"interop":       {[]string{".", "msg", "rpc", "topic"}, nil},
	"examples":      {[]string{".", "msg", "rpc", "topic"}, nil},
	"spec":          {[]string{".", "msg", "rpc", "topic"}, nil}, // what writes the vectors
	// Modules of their own: what they import from others is their own matter.
	"cmd/standpipe": {[]string{".", "msg", "rpc", "topic"}, []string{""}},
	"grpcpipe":      {[]string{".", "msg", "rpc"}, []string{""}},
	"otelpipe":      {[]string{".", "rpc"}, []string{""}},
	"prompipe":      {[]string{".", "rpc"}, []string{""}},
	"bench":         {[]string{".", "internal/mem", "internal/ring", "msg", "rpc", "topic", "grpcpipe"}, []string{""}}, // it measures the parts, too
	"tools":         {nil, []string{""}},
}

// requirements are all modules that the root module may need directly. A new one wants a page in docs/adr first.
var requirements = []string{
	"github.com/ugorji/go/codec",
	"golang.org/x/net",
	"golang.org/x/sys",
	"google.golang.org/protobuf",
}

const (
	maxFile     = 500 // lines of a file that is no test
	maxFunction = 80  // lines of a function that is no test
	maxModules  = 5
)

// goFile is one parsed file of the repository, of any system.
type goFile struct {
	path string // with slashes, from the top
	test bool
	fset *token.FileSet
	ast  *ast.File
}

// lines is the number of lines from one position to another, both included.
func (f goFile) lines(from, to token.Pos) int {
	return f.fset.Position(to).Line - f.fset.Position(from).Line + 1
}

// room is the entry of house that the file belongs to, and "" where there is none.
func (f goFile) room() string {
	for dir := path.Dir(f.path); ; dir = path.Dir(dir) {
		if _, known := house[dir]; known && (dir != "." || !strings.Contains(f.path, "/")) {
			return dir
		}
		if dir == "." {
			return ""
		}
	}
}

// goFiles parses every Go file of the repository, whatever system it is for.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, goFile{filepath.ToSlash(name), strings.HasSuffix(name, "_test.go"), fset, file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("only %d Go files were found; is this the top of the repository?", len(files))
	}
	return files
}

func TestArchImports(t *testing.T) {
	for _, f := range goFiles(t) {
		room := f.room()
		if room == "" {
			t.Errorf("%s lies in a folder that the house has no room for: see house in arch_test.go", f.path)
			continue
		}
		for _, imp := range f.ast.Imports {
			imported := strings.Trim(imp.Path.Value, `"`)
			if why := forbidden(room, f.test, imported); why != "" {
				t.Errorf("%s imports %s: %s", f.path, imported, why)
			}
		}
	}
}

// forbidden says why a room, or its tests, may not import a package; "": they may.
func forbidden(room string, test bool, imported string) string {
	rules := house[room]
	under := func(list []string, p string) bool {
		return slices.ContainsFunc(list, func(root string) bool {
			return root == "" || p == root || strings.HasPrefix(p, root+"/")
		})
	}
	if imported == module || strings.HasPrefix(imported, module+"/") {
		dir := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
		if dir == "" {
			dir = "."
		}
		switch {
		case dir == room, strings.HasPrefix(dir, room+"/"), slices.Contains(rules.ours, dir):
			return ""
		case test && !strings.HasPrefix(dir, "internal/"):
			return "" // tests may use every public room, but no more private doors than their own room has
		}
		return fmt.Sprintf("of ours, the room %q may use %q only", room, rules.ours)
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	if under(rules.others, imported) || test && under(requirements, imported) {
		return ""
	}
	return fmt.Sprintf("of others', the room %q may use %q only", room, rules.others)
}

func TestArchRules(t *testing.T) {
	for _, c := range []struct {
		room     string
		test     bool
		imported string
		allowed  bool
	}{
		{"rpc", false, module, true},
		{"rpc", false, module + "/msg", true},
		{"rpc", false, module + "/topic", false},
		{"rpc", true, module + "/pipetest", true},
		{"rpc", false, module + "/pipetest", false},
		{"rpc", false, module + "/internal/mem", false},
		{"rpc", true, module + "/internal/mem", false},
		{"msg", false, module + "/internal/mem", true},
		{"msg", false, module + "/rpc", false},
		{"msg", false, "github.com/ugorji/go/codec", false},
		{"msg", true, "github.com/ugorji/go/codec", true},
		{"rpc", false, "google.golang.org/protobuf/proto", true},
		{".", false, "golang.org/x/sys/windows", true},
		{".", false, "golang.org/x/system", false},
		{".", false, module + "/msg", false},
		{".", false, "net/http", true},
		{".", true, "github.com/somebody/else", false},
		{"cmd/standpipe", false, "github.com/spf13/cobra", true},
		{"cmd/standpipe", false, module + "/internal/ring", false},
	} {
		if why := forbidden(c.room, c.test, c.imported); (why == "") != c.allowed {
			t.Errorf("%q (test: %v) and %s: %q", c.room, c.test, c.imported, why)
		}
	}
}

func TestArchSizes(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		if n := f.lines(f.ast.FileStart, f.ast.FileEnd) - 1; n > maxFile {
			t.Errorf("%s has %d lines; a file has at most %d", f.path, n, maxFile)
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := f.lines(fn.Pos(), fn.End()); n > maxFunction {
				t.Errorf("%s: %s has %d lines; a function has at most %d", f.path, fn.Name.Name, n, maxFunction)
			}
		}
		switch path.Base(f.path) {
		case "utils.go", "util.go", "types.go", "common.go", "helpers.go", "misc.go":
			t.Errorf("%s: a file is named after what it is about", f.path)
		}
	}
}

// Platforms are told apart by files, not by branches; and what is exported stands in the portable files only.
func TestArchPlatforms(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "GOOS" {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "runtime" {
					t.Errorf("%s: runtime.GOOS: write a file for each system instead", f.fset.Position(n.Pos()))
				}
			}
			return true
		})
		if room := f.room(); !f.constrained() || !slices.Contains(publicPackages, room) {
			continue
		}
		for _, line := range apiOf(f.ast) {
			t.Errorf("%s is for some systems only, and exports %q: exported things live in portable files", f.path, line)
		}
	}
}

// constrained says whether the file is built on some systems only, by its name or a constraint.
func (f goFile) constrained() bool {
	base := strings.TrimSuffix(path.Base(f.path), ".go")
	for _, word := range strings.Split(base, "_")[1:] {
		switch word {
		case "linux", "windows", "darwin", "freebsd", "amd64", "arm64", "386":
			return true
		}
	}
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if constraint.IsGoBuild(c.Text) && c.Pos() < f.ast.Package {
				return true
			}
		}
	}
	return false
}

func TestArchRequirements(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var direct []string
	block := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "require (":
			block = true
		case line == ")":
			block = false
		case block || strings.HasPrefix(line, "require "):
			if name, _, _ := strings.Cut(strings.TrimPrefix(line, "require "), " "); !strings.Contains(line, "// indirect") {
				direct = append(direct, name)
			}
		case strings.HasPrefix(line, "replace "):
			t.Errorf("go.mod: %q: whoever imports the module would not have it", line)
		}
	}
	if len(direct) > maxModules {
		t.Errorf("go.mod needs %d modules directly; at most %d", len(direct), maxModules)
	}
	for _, name := range direct {
		if !slices.Contains(requirements, name) {
			t.Errorf("go.mod needs %s, which has no page in docs/adr: see requirements in arch_test.go", name)
		}
	}
}
