package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/doc/comment"
	"go/format"
	"go/parser"
	"go/token"
	"html/template"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/coveycache/covey"
)

// A library is the standard library's source tree.
type library struct {
	src      string
	version  string
	packages []string // import paths, sorted
}

func findLibrary() (*library, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("where are Go's sources? %w", err)
	}
	l := &library{src: filepath.Join(strings.TrimSpace(string(out)), "src"), version: runtime.Version()}
	err = filepath.WalkDir(l.src, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		switch d.Name() {
		case "internal", "vendor", "testdata", "cmd":
			return filepath.SkipDir
		}
		if files, _ := filepath.Glob(filepath.Join(name, "*.go")); len(files) > 0 && name != l.src {
			rel, _ := filepath.Rel(l.src, name)
			l.packages = append(l.packages, filepath.ToSlash(rel))
		}
		return nil
	})
	return l, err
}

// A document is a package's documentation, ready for the template.
type document struct {
	Path, Synopsis string
	Doc            template.HTML
	Consts, Vars   []item
	Funcs          []item
	Types          []typeItem
	Imports        []string
	Version        string
}

type item struct {
	Name, Decl string
	Doc        template.HTML
}

type typeItem struct {
	item
	Funcs, Methods []item
}

// document parses and renders a package; ErrNotFound if there is no such one.
func (l *library) document(importPath string) (*document, error) {
	if !fs.ValidPath(importPath) || importPath == "." {
		return nil, fmt.Errorf("%w: package %q", covey.ErrNotFound, importPath)
	}
	dir := filepath.Join(l.src, filepath.FromSlash(importPath))
	bp, err := build.Default.ImportDir(dir, 0)
	var none *build.NoGoError
	if errors.As(err, &none) || errors.Is(err, fs.ErrNotExist) || err != nil && !isDir(dir) {
		return nil, fmt.Errorf("%w: package %q", covey.ErrNotFound, importPath)
	} else if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range append(bp.GoFiles, bp.CgoFiles...) {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, f)
	}
	pkg, err := doc.NewFromFiles(fset, parsed, importPath)
	if err != nil {
		return nil, err
	}
	r := renderer{fset, pkg, pkg.Printer()}
	r.printer.DocLinkURL = func(link *comment.DocLink) string { return docLink(importPath, link) }
	d := &document{Path: importPath, Synopsis: pkg.Synopsis(pkg.Doc), Doc: r.html(pkg.Doc), Imports: pkg.Imports, Version: l.version}
	d.Consts, d.Vars, d.Funcs = r.values(pkg.Consts), r.values(pkg.Vars), r.funcs(pkg.Funcs)
	for _, t := range pkg.Types {
		ti := typeItem{item: item{t.Name, r.source(t.Decl), r.html(t.Doc)}}
		d.Consts = append(d.Consts, r.values(t.Consts)...)
		d.Vars = append(d.Vars, r.values(t.Vars)...)
		ti.Funcs, ti.Methods = r.funcs(t.Funcs), r.funcs(t.Methods)
		d.Types = append(d.Types, ti)
	}
	return d, nil
}

func isDir(dir string) bool {
	fi, err := os.Stat(dir)
	return err == nil && fi.IsDir()
}

func docLink(here string, link *comment.DocLink) string {
	url := ""
	if link.ImportPath != "" && link.ImportPath != here {
		url = path.Join("/pkg", link.ImportPath)
	}
	switch {
	case link.Recv != "":
		url += "#" + link.Recv + "." + link.Name
	case link.Name != "":
		url += "#" + link.Name
	}
	return url
}

// A renderer turns pieces of a package into HTML and source text.
type renderer struct {
	fset    *token.FileSet
	pkg     *doc.Package
	printer *comment.Printer
}

func (r renderer) html(text string) template.HTML {
	return template.HTML(r.printer.HTML(r.pkg.Parser().Parse(text)))
}

func (r renderer) source(node ast.Node) string {
	var b bytes.Buffer
	if err := format.Node(&b, r.fset, node); err != nil {
		return err.Error()
	}
	return b.String()
}

func (r renderer) values(vs []*doc.Value) (items []item) {
	for _, v := range vs {
		items = append(items, item{v.Names[0], r.source(v.Decl), r.html(v.Doc)})
	}
	return items
}

func (r renderer) funcs(fs []*doc.Func) (items []item) {
	for _, f := range fs {
		name := f.Name
		if f.Recv != "" {
			name = strings.TrimPrefix(f.Recv, "*") + "." + name
		}
		items = append(items, item{name, r.source(f.Decl), r.html(f.Doc)})
	}
	return items
}
