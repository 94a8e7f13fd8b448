// Mutants breaks each invariant on purpose, in a copy of the module, and sees
// whether the test that guards it fails. A mutant that survives is an error.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	only := flag.String("run", "", "try only the mutants whose invariant or test matches this regular `expression`")
	flag.Parse()
	if err := run(*only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(only string) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := copyModule(dir); err != nil {
		return err
	}
	tried := 0
	var failed []string
	for _, m := range mutants {
		if !match.MatchString(m.invariant) && !match.MatchString(m.test) {
			continue
		}
		tried++
		line := fmt.Sprintf("%-60s killed by %s", m.invariant, m.test)
		// A mutant that cannot be tried is no reason to leave the others untried: a full run takes long.
		if killed, err := m.try(dir); err != nil {
			line = fmt.Sprintf("%-60s INVALID: %v", m.invariant, err)
			failed = append(failed, line)
		} else if !killed {
			line = fmt.Sprintf("%-60s SURVIVED %s", m.invariant, m.test)
			failed = append(failed, line)
		}
		fmt.Println(line)
	}
	if tried == 0 {
		return fmt.Errorf("no mutant matches %q", only)
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d mutants survived or are invalid:\n%s", len(failed), tried, strings.Join(failed, "\n"))
	}
	return nil
}

// copyModule copies what the root package is built from: its Go files, those of internal, go.mod
// and go.sum.
func copyModule(dir string) error {
	files, err := filepath.Glob("*.go")
	if err != nil {
		return err
	}
	inner, err := filepath.Glob(filepath.Join("internal", "*", "*.go"))
	if err != nil {
		return err
	}
	for _, f := range append(append(files, inner...), "go.mod", "go.sum") {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, b, fs.FileMode(0o644)); err != nil {
			return err
		}
	}
	return nil
}

// try applies the mutant, runs its test and takes the mutant back.
func (m mutant) try(dir string) (killed bool, err error) {
	file := filepath.Join(dir, m.file)
	b, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	if n := strings.Count(string(b), m.old); n != 1 {
		return false, fmt.Errorf("%s has %q %d times; want once", m.file, m.old, n)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(b), m.old, m.new, 1)), 0o644); err != nil {
		return false, err
	}
	defer func() {
		if e := os.WriteFile(file, b, 0o644); err == nil {
			err = e
		}
	}()
	pkg, test := ".", m.test
	if in, name, ok := strings.Cut(m.test, "."); ok {
		pkg, test = "./"+in, name
	}
	// Compiling takes nearly all of the time. The collector is for the compiler only, the test has
	// its usual one.
	binary := filepath.Join(dir, "mutant.test")
	compile := command(dir, "go", "test", "-c", "-vet=off", "-ldflags=-w", "-o", binary, pkg)
	compile.Env = append(os.Environ(), "GOGC=400")
	if out, err := compile.CombinedOutput(); err != nil {
		return false, fmt.Errorf("the mutant does not compile: %s", out)
	}
	out, err := command(filepath.Join(dir, pkg), binary, "-test.timeout", "60s", "-test.run", "^"+test+"$").CombinedOutput()
	if err == nil && bytes.Contains(out, []byte("no tests to run")) {
		return false, fmt.Errorf("there is no test %s", m.test)
	}
	return err != nil, nil
}

func command(dir string, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	return cmd
}
