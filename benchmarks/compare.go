package main

// compare.go runs a suite on two versions of Covey in turns: the working tree and a commit.

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const compareCommand = "compare"

// compare does "compare [flags] SUITE [flags of the suite]".
func compare(args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet(compareCommand, flag.ContinueOnError)
	base := flags.String("base", "HEAD~1", "the `commit` to compare with")
	rounds := flags.Int("rounds", 5, "runs of each version, taken in turns")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 || *rounds < 1 {
		return errors.New("usage: compare [-base COMMIT] [-rounds N] SUITE [flags of the suite]; -rounds must be positive")
	}
	suite := append([]string{flags.Arg(0), "-systems", "covey", "-repeats", "1"}, flags.Args()[1:]...)
	dir, err := os.MkdirTemp("", "covey-compare")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tree := filepath.Join(dir, "base")
	if err := execute("", "git", "worktree", "add", "--quiet", "--detach", tree, *base); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, execute("", "git", "worktree", "remove", "--force", tree)) }()
	oldBin, newBin := filepath.Join(dir, "old"), filepath.Join(dir, "new")
	if err := execute(filepath.Join(tree, "benchmarks"), "go", "build", "-o", oldBin, "."); err != nil {
		return err
	}
	if err := execute("", "go", "build", "-o", newBin, "."); err != nil {
		return err
	}
	c := comparison{values: map[figure]*[2][]float64{}}
	for i := range *rounds {
		for j := range 2 {
			which := (i + j) % 2 // each goes first now and then
			progress("round %d of %d, %s", i+1, *rounds, []string{"base", "working tree"}[which])
			file := filepath.Join(dir, "figures.json")
			if err := execute("", []string{oldBin, newBin}[which], append(suite, "-json", file)...); err != nil {
				return err
			}
			if err := c.read(file, which); err != nil {
				return err
			}
		}
	}
	c.print(out, *base)
	return nil
}

func execute(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(name), strings.Join(args, " "), err)
	}
	return nil
}

// A comparison has the values of each figure, in the order of the rounds: of the base and of the
// working tree.
type comparison struct {
	order  []figure // without values
	values map[figure]*[2][]float64
}

func (c *comparison) read(file string, which int) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var one figure
		if err := json.Unmarshal(s.Bytes(), &one); err != nil {
			return err
		}
		value := one.Value
		one.Value = 0
		if c.values[one] == nil {
			c.values[one] = new([2][]float64)
			c.order = append(c.order, one)
		}
		c.values[one][which] = append(c.values[one][which], value)
	}
	return nil
}

func (c *comparison) print(out io.Writer, base string) {
	fmt.Fprintf(out, "\n| case | metric | %s | working tree | median of the ratios |\n|---|---|---:|---:|---:|\n", base)
	for _, f := range c.order {
		v := c.values[f]
		fmt.Fprintf(out, "| %s | %s (%s) | %s | %s | %.3f |\n", f.Case, f.Metric, f.Unit, number(median(v[0])), number(median(v[1])), medianRatio(v[1], v[0]))
	}
}
