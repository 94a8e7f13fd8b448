package main

import (
	"os"
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
