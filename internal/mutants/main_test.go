package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A mutant that no longer fits the code, or whose test has gone, guards nothing. Running them all
// takes long; this does not.
func TestMutantsFit(t *testing.T) {
	root := filepath.Join("..", "..")
	tests := make(map[string]map[string]bool) // by folder and name
	for _, m := range mutants {
		code, err := os.ReadFile(filepath.Join(root, m.file))
		if err != nil {
			t.Errorf("%s: %v", m.invariant, err)
			continue
		}
		if n := strings.Count(string(code), m.old); n != 1 {
			t.Errorf("%s: %s has %q %d times; want once", m.invariant, m.file, m.old, n)
		}
		dir, test := ".", m.test
		if in, name, ok := strings.Cut(m.test, "."); ok {
			dir, test = in, name
		}
		if tests[dir] == nil {
			tests[dir] = testsOf(t, filepath.Join(root, dir))
		}
		if !tests[dir][test] {
			t.Errorf("%s: there is no test %s", m.invariant, m.test)
		}
	}
}

// A mutant that does not compile guards nothing either. The bodies of functions in other files have no
// say in whether one does, unless it changes what is declared; checking them takes nearly all of the time.
func TestMutantsCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("type-checks a package for each mutant")
	}
	c := newChecker(t, filepath.Join("..", ".."))
	for _, m := range mutants {
		for _, err := range c.check(m) {
			t.Errorf("%s: %v", m.invariant, err)
		}
	}
}

// What the check of mutants sees it has to see in bodies, in declarations, and in imports.
func TestMutantsCheckSees(t *testing.T) {
	root := t.TempDir()
	for name, code := range map[string]string{
		"go.mod": "module m\n",
		"a.go":   "package m\n\nimport \"os\"\n\nvar n int\n\nfunc f() int { os.Exit(1); return n }\n",
		"b.go":   "package m\n\nimport \"io\"\n\nfunc g(io.Reader) (int, error) { return f(), io.EOF }\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(code), 0o644))
	}
	for _, test := range []struct{ old, new, want string }{
		{"return n }", "return n + 1 }", ""},
		{"return n }", "return o }", "undefined: o"},
		{"return n }", "var o int; return n }", "declared and not used"},
		{"return n }", "}", "missing return"},
		{"os.Exit(1)", "n++", `"os" imported and not used`},
		{"var n int", "var n int8", "cannot use n"},
		{"f() int { os.Exit(1); return n }", "f() { os.Exit(1) }", "f() (no value) used as value"},
	} {
		errs := newChecker(t, root).check(mutant{file: "a.go", old: test.old, new: test.new})
		if test.want == "" {
			require.Empty(t, errs)
			continue
		}
		require.NotEmpty(t, errs, test.want)
		require.ErrorContains(t, errs[0], test.want)
	}
}

// A checker type-checks packages with mutants.
type checker struct {
	t        *testing.T
	root     string
	fset     *token.FileSet
	imports  types.Importer
	packages map[string]map[string]sourceFile // by folder and name
}

// A sourceFile is one of a package's files, also without what its functions do.
type sourceFile struct{ whole, hollow *ast.File }

func newChecker(t *testing.T, root string) *checker {
	c := &checker{t: t, root: root, fset: token.NewFileSet(), packages: make(map[string]map[string]sourceFile)}
	exports := exportData(t, root)
	c.imports = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("no export data for %q", path)
		}
		return os.Open(exports[path])
	})
	return c
}

// check returns what is wrong with a mutant for the compiler.
func (c *checker) check(m mutant) (errs []error) {
	dir, base := filepath.Split(m.file)
	if c.packages[dir] == nil {
		c.packages[dir] = make(map[string]sourceFile)
		for _, name := range goFiles(c.t, c.root, dir) {
			code := c.read(filepath.Join(dir, name))
			c.packages[dir][name] = sourceFile{whole: c.parse(code), hollow: c.hollow(code)}
		}
	}
	code := c.read(m.file)
	mutated := c.parse(strings.Replace(code, m.old, m.new, 1))
	local := inBody(c.packages[dir][base].whole, strings.Index(code, m.old), len(m.old))
	files := []*ast.File{mutated}
	for name, f := range c.packages[dir] {
		switch {
		case name == base:
		case local:
			files = append(files, f.hollow)
		default:
			files = append(files, f.whole)
		}
	}
	conf := types.Config{Importer: c.imports, Sizes: types.SizesFor("gc", "amd64"), Error: func(err error) {
		e := err.(types.Error)
		if here := mutated.FileStart <= e.Pos && e.Pos <= mutated.FileEnd; here || !local || !e.Soft {
			errs = append(errs, err) // else it is about an import that a hollow file does not use
		}
	}}
	_, _ = conf.Check(dir, c.fset, files, nil) // Error has been told
	return errs
}

func (c *checker) read(file string) string {
	code, err := os.ReadFile(filepath.Join(c.root, file))
	require.NoError(c.t, err)
	return string(code)
}

func (c *checker) parse(code string) *ast.File {
	f, err := parser.ParseFile(c.fset, "", code, parser.SkipObjectResolution)
	require.NoError(c.t, err)
	return f
}

// hollow parses code, and has every function panic.
func (c *checker) hollow(code string) *ast.File {
	f := c.parse(code)
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			fn.Body.List = []ast.Stmt{&ast.ExprStmt{X: &ast.CallExpr{Fun: ast.NewIdent("panic"), Args: []ast.Expr{ast.NewIdent("nil")}}}}
		}
	}
	return f
}

// inBody reports whether the n bytes at an offset are all within one function.
func inBody(f *ast.File, at, n int) bool {
	from := f.FileStart + token.Pos(at)
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil && fn.Body.Lbrace < from && from+token.Pos(n) <= fn.Body.Rbrace {
			return true
		}
	}
	return false
}

// exportData returns where the compiler has put what the packages that the module uses export.
func exportData(t *testing.T, root string) map[string]string {
	exports := make(map[string]string)
	for line := range strings.Lines(goList(t, root, "-deps", "-export", "-f", "{{.ImportPath}}={{.Export}}", "./...")) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		exports[path] = file
	}
	return exports
}

// goFiles returns the names of the files that the package in dir is built from.
func goFiles(t *testing.T, root, dir string) []string {
	return strings.Fields(goList(t, root, "-f", "{{range .GoFiles}}{{.}} {{end}}", "./"+filepath.ToSlash(dir)))
}

func goList(t *testing.T, root string, args ...string) string {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir, cmd.Stderr = root, &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, &errs)
	}
	return string(out)
}

// testsOf returns the names of the tests in dir.
func testsOf(t *testing.T, dir string) map[string]bool {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	names := make(map[string]bool)
	for _, file := range files {
		code, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, decl := range testDecl.FindAllSubmatch(code, -1) {
			names[string(decl[1])] = true
		}
	}
	return names
}

var testDecl = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
