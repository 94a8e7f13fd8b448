package covey

import (
	"bytes"
	"flag"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var updateAPI = flag.Bool("update-api", false, "write testdata/api.txt anew")

// The exported API is what testdata/api.txt says: a change of it shows in review. VERSIONING.md
// says which changes are allowed.
func TestAPI(t *testing.T) {
	const golden = "testdata/api.txt"
	got := strings.Join(exported(t), "\n\n") + "\n"
	if *updateAPI {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "if the change is meant: go test -run TestAPI . -update-api")
}

// exported returns the exported declarations without comments and bodies, sorted.
func exported(t *testing.T) (decls []string) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	fset := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		require.NoError(t, err)
		ast.FileExports(f)
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				if fn.Recv != nil && !ast.IsExported(receiver(fn)) {
					continue
				}
				fn.Body = nil
			}
			var b bytes.Buffer
			require.NoError(t, format.Node(&b, fset, d))
			decls = append(decls, strings.ReplaceAll(b.String(), "\n\n", "\n"))
		}
	}
	slices.Sort(decls)
	return decls
}

// receiver returns the name of a method's type.
func receiver(fn *ast.FuncDecl) string {
	name := ""
	ast.Inspect(fn.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name
		}
		return true
	})
	return name
}
