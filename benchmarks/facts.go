package main

// facts.go notes on what a run measured: the line that comes before the figures in a JSON file.

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Facts say what was measured, how and on which machine.
type facts struct {
	Args   []string `json:"args"`   // of the command, but for files
	Commit string   `json:"commit"` // with "-dirty" if there were changes
	Go     string   `json:"go"`
	Target string   `json:"target"`
	CPU    string   `json:"cpu"` // its model, where Linux tells
	Cores  int      `json:"cores"`
}

func newFacts(args []string) facts {
	commit, _ := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").Output()
	return facts{
		Args:   args,
		Commit: strings.TrimSpace(string(commit)),
		Go:     runtime.Version(),
		Target: runtime.GOOS + "/" + runtime.GOARCH,
		CPU:    cpuModel(),
		Cores:  runtime.NumCPU(),
	}
}

func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, model, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return ""
}
