package main

// compare.go runs a suite on two versions of Covey in turns: the working tree and a commit. Or it
// runs a suite as the one whose JSON file it reads was run, and compares Covey's ratios to rivals.

import (
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
	base := flags.String("base", "HEAD~1", "the `commit` to compare with, or a file that -json has written and whose name ends in .json")
	rounds := flags.Int("rounds", 5, "runs of each version, taken in turns")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if strings.HasSuffix(*base, ".json") {
		if flags.NArg() > 0 {
			return errors.New("compare: the suite and its flags are those of the file " + *base)
		}
		return compareFile(*base, out)
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
	res, err := readJSON(file)
	for _, f := range res.figures {
		value := f.Value
		f = f.of(f.System)
		if c.values[f] == nil {
			c.values[f] = new([2][]float64)
			c.order = append(c.order, f)
		}
		c.values[f][which] = append(c.values[f][which], value)
	}
	return err
}

// compareFile measures again what the file has. The times of day differ, and perhaps the machines,
// so it shows ratios to what was measured in the same run.
func compareFile(file string, out io.Writer) error {
	then, err := readJSON(file)
	if err != nil {
		return err
	}
	if then.Args == nil {
		return fmt.Errorf("%s does not say how it was measured", file)
	}
	dir, err := os.MkdirTemp("", "covey-compare")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	again := filepath.Join(dir, "figures.json")
	if err := benchmark(append(then.Args[:len(then.Args):len(then.Args)], "-json", again), io.Discard); err != nil {
		return err
	}
	now, err := readJSON(again)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		facts
	}{{"base", then.facts}, {"now", now.facts}} {
		fmt.Fprintf(out, "%s: %s, %s %s, %d cores of %s\n", f.name, f.Commit, f.Go, f.Target, f.Cores, f.CPU)
	}
	fmt.Fprintf(out, "\n| case | metric | covey over | base | now | change |\n|---|---|---|---:|---:|---:|\n")
	before, after := ratios(then.figures), ratios(now.figures)
	for _, f := range now.figures {
		if b, a := before[f.of(f.System)], after[f.of(f.System)]; b > 0 && a > 0 {
			fmt.Fprintf(out, "| %s | %s | %s | %.3f | %.3f | %.3f |\n", f.Case, f.Metric, f.System, b, a, a/b)
		}
	}
	return nil
}

// of returns the figure without its values, for that system.
func (f figure) of(system string) figure {
	f.System, f.Value, f.Low, f.High = system, 0, 0, 0
	return f
}

// ratios returns covey's figure over each rival's, by the rival's figure without its value.
func ratios(figures []figure) map[figure]float64 {
	own := make(map[figure]float64)
	for _, f := range figures {
		if f.System == "covey" {
			own[f.of("")] = f.Value
		}
	}
	over := make(map[figure]float64)
	for _, f := range figures {
		if mine := own[f.of("")]; f.System != "covey" && mine > 0 && f.Value > 0 {
			over[f.of(f.System)] = mine / f.Value
		}
	}
	return over
}

func (c *comparison) print(out io.Writer, base string) {
	fmt.Fprintf(out, "\n| case | metric | %s | working tree | median of the ratios |\n|---|---|---:|---:|---:|\n", base)
	for _, f := range c.order {
		v := c.values[f]
		fmt.Fprintf(out, "| %s | %s (%s) | %s | %s | %.3f |\n", f.Case, f.Metric, f.Unit, number(median(v[0])), number(median(v[1])), medianRatio(v[1], v[0]))
	}
}
