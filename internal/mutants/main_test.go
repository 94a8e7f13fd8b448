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
)

// A mutant that no longer fits the code, or whose test has gone, guards nothing. Running them all
// takes long; this does not.
func TestMutantsFit(t *testing.T) {
	root := filepath.Join("..", "..")
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
		if !hasTest(t, filepath.Join(root, dir), test) {
			t.Errorf("%s: there is no test %s", m.invariant, m.test)
		}
	}
}

// A mutant that does not compile guards nothing either.
func TestMutantsCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("type-checks a package for each mutant")
	}
	root := filepath.Join("..", "..")
	fset := token.NewFileSet()
	exports := exportData(t, root)
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("no export data for %q", path)
		}
		return os.Open(exports[path])
	})
	parse := func(file string, code any) *ast.File {
		f, err := parser.ParseFile(fset, file, code, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
		}
		return f
	}
	packages := make(map[string]map[string]*ast.File) // by folder and file
	for _, m := range mutants {
		dir := filepath.Dir(m.file)
		if packages[dir] == nil {
			packages[dir] = make(map[string]*ast.File)
			for _, name := range goFiles(t, root, dir) {
				packages[dir][name] = parse(filepath.Join(root, dir, name), nil)
			}
		}
		code, err := os.ReadFile(filepath.Join(root, m.file))
		if err != nil {
			t.Fatal(err)
		}
		var files []*ast.File
		for name, f := range packages[dir] {
			if name == filepath.Base(m.file) {
				f = parse(m.file, strings.Replace(string(code), m.old, m.new, 1))
			}
			files = append(files, f)
		}
		conf := types.Config{Importer: imports, Sizes: types.SizesFor("gc", "amd64")}
		if _, err := conf.Check(dir, fset, files, nil); err != nil {
			t.Errorf("%s: %v", m.invariant, err)
		}
	}
}

// exportData returns where the compiler has put what the packages that the module uses export.
func exportData(t *testing.T, root string) map[string]string {
	exports := make(map[string]string)
	for line := range strings.Lines(goList(t, root, "-deps", "-export", "-f", "{{.ImportPath}}={{.Export}}", ".", "./internal/...")) {
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

func hasTest(t *testing.T, dir, name string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	decl := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`)
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if decl.Match(code) {
			return true
		}
	}
	return false
}
