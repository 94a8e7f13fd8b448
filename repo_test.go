package covey

import (
	"bufio"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every exported symbol is documented, fields and methods included.
func TestEverythingExportedIsDocumented(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	fset := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		require.NoError(t, err)
		parsed = append(parsed, f)
	}
	pkg, err := doc.NewFromFiles(fset, parsed, "github.com/coveycache/covey")
	require.NoError(t, err)
	require.NotEmpty(t, pkg.Doc)
	undocumented := func(name, text string) {
		if ast.IsExported(name) && strings.TrimSpace(text) == "" {
			t.Errorf("%s has no documentation", name)
		}
	}
	values := func(vs []*doc.Value) {
		for _, v := range vs {
			for _, spec := range v.Decl.Specs {
				s := spec.(*ast.ValueSpec)
				for _, n := range s.Names {
					undocumented(n.Name, v.Doc+s.Doc.Text()+s.Comment.Text())
				}
			}
		}
	}
	values(pkg.Consts)
	values(pkg.Vars)
	for _, f := range pkg.Funcs {
		undocumented(f.Name, f.Doc)
	}
	for _, typ := range pkg.Types {
		undocumented(typ.Name, typ.Doc)
		values(typ.Consts)
		values(typ.Vars)
		for _, f := range append(typ.Funcs, typ.Methods...) {
			undocumented(f.Name, f.Doc)
		}
		for _, spec := range typ.Decl.Specs {
			s, ok := spec.(*ast.TypeSpec).Type.(*ast.StructType)
			if !ok || !ast.IsExported(typ.Name) {
				continue
			}
			group := "" // a comment speaks for the lines right below it, too
			line := 0
			for _, f := range s.Fields.List {
				text := f.Doc.Text() + f.Comment.Text()
				if at := fset.Position(f.Pos()).Line; text == "" && at == line+1 {
					text = group
				} else {
					group = text
				}
				line = fset.Position(f.End()).Line
				for _, n := range f.Names {
					if ast.IsExported(n.Name) && typ.Name != "Stats" {
						undocumented(n.Name, text)
					}
				}
			}
		}
	}
}

// A dependency of the root module is every user's dependency.
func TestDependencies(t *testing.T) {
	want := map[string]bool{
		"github.com/dgryski/go-farm":   true,
		"github.com/sony/gobreaker/v2": true,
		"github.com/stretchr/testify":  true, // tests only, see below
		"golang.org/x/sync":            true,
		"golang.org/x/time":            true,
		"go.yaml.in/yaml/v3":           true, // testify's
	}
	f, err := os.Open("go.mod")
	require.NoError(t, err)
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(s.Text()), "require "))
		if len(fields) >= 2 && strings.Contains(fields[0], ".") && strings.HasPrefix(fields[1], "v") && !want[fields[0]] {
			t.Errorf("%s is not on the list of dependencies", fields[0])
		}
	}
	err = filepath.WalkDir(".", func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil && name != "." {
				return filepath.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range parsed.Imports {
			if p := strings.Trim(i.Path.Value, `"`); p == "testing" || strings.HasPrefix(p, "github.com/stretchr/") {
				t.Errorf("%s imports %s outside a test", name, p)
			}
		}
		return nil
	})
	require.NoError(t, err)
}

// Each block of Go code on a page is in a Go file of the repository, which is compiled and vetted like
// any other, and mostly run by a test: a whole file, or lines that may be indented more. What pages of
// the repository link to is there.
func TestPages(t *testing.T) {
	var pages, files []string
	err := filepath.WalkDir(".", func(name string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || name != "." && strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case strings.HasSuffix(name, ".md"):
			pages = append(pages, name)
		case strings.HasSuffix(name, ".go"):
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			if !strings.Contains(string(b), "//go:build ") { // it might be compiled nowhere
				files = append(files, "\n"+string(b))
			}
		}
		return nil
	})
	require.NoError(t, err)
	blocks, link := 0, regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, page := range pages {
		b, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, to := range link.FindAllStringSubmatch(string(b), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), to[1])); err != nil {
				t.Errorf("%s: a link to what is not there: %s", page, to[1])
			}
		}
		for i, part := range strings.Split(string(b), "\n```go\n")[1:] {
			code, _, closed := strings.Cut(part, "\n```\n")
			require.True(t, closed, "%s: block %d has no end", page, i+1)
			blocks++
			if !slices.ContainsFunc(files, func(file string) bool { return hasCode(file, code) }) {
				t.Errorf("%s: block %d is in no Go file of the repository:\n%s", page, i+1, code)
			}
		}
	}
	require.Greater(t, blocks, 5)
}

// hasCode reports whether a file, after a line end, has these lines, however far it indents them.
func hasCode(file, code string) bool {
	if strings.HasPrefix(code, "package ") {
		return strings.HasSuffix(file, "\n"+code+"\n")
	}
	lines := strings.Split(code, "\n")
	for range 4 {
		if strings.Contains(file, "\n"+strings.Join(lines, "\n")+"\n") {
			return true
		}
		for i, line := range lines {
			if line != "" {
				lines[i] = "\t" + line
			}
		}
	}
	return false
}

// What the store is made of does not know that there is a group, the group does not know what type
// a cache has, and leaves do not know Covey.
func TestDirections(t *testing.T) {
	names := func(file string) map[string]bool {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		found := make(map[string]bool)
		ast.Inspect(f, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				found[id.Name] = true
			}
			return true
		})
		return found
	}
	for _, file := range []string{
		"index.go", "store.go", "policy.go", "lfu.go", "lfu_duel.go", "lfu_value.go", "lru.go", "fifo.go", "heap.go", "expiry.go", "tombstones.go",
		"histogram.go", "failures.go", "guard.go",
	} {
		for _, name := range []string{"Group", "peering", "Cache", "link", "wire"} {
			require.False(t, names(file)[name], "%s names %s", file, name)
		}
	}
	groups, err := filepath.Glob("group_*.go")
	require.NoError(t, err)
	for _, file := range append(groups, "peers.go") {
		if !strings.HasSuffix(file, "_test.go") {
			require.False(t, names(file)["peering"], "%s names peering", file)
		}
	}
	const module = "github.com/coveycache/covey"
	for leaf, allowed := range map[string][]string{
		"freq": nil, "sizeof": nil, "snapfile": nil, "timing": nil, "wire": nil, "link": {module + "/internal/wire", module + "/internal/timing"},
	} {
		files, err := filepath.Glob("internal/" + leaf + "/*.go")
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			require.NoError(t, err)
			for _, i := range f.Imports {
				path := strings.Trim(i.Path.Value, `"`)
				require.False(t, strings.HasPrefix(path, module) && !slices.Contains(allowed, path), "%s imports %s", file, path)
			}
		}
	}
}
