package main

// facts.go notes on what a run measured: the line that comes before the figures in a JSON file.

import (
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Facts say what was measured, how and on which machine.
type facts struct {
	Args   []string `json:"args"`   // of the command, but for files
	Commit string   `json:"commit"` // with "-dirty" if there were changes
	Date   string   `json:"date,omitempty"`
	Go     string   `json:"go"`
	Target string   `json:"target"`
	CPU    string   `json:"cpu"` // its model, where Linux tells
	Cores  int      `json:"cores"`
	// Versions are those of the rivals, by module, and of the servers, by program; "" = not installed.
	Versions map[string]string `json:"versions,omitempty"`
}

func newFacts(args []string) facts {
	commit, _ := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").Output()
	return facts{
		Args:     args,
		Commit:   strings.TrimSpace(string(commit)),
		Date:     time.Now().UTC().Format(time.DateOnly),
		Go:       runtime.Version(),
		Target:   runtime.GOOS + "/" + runtime.GOARCH,
		CPU:      cpuModel(),
		Cores:    runtime.NumCPU(),
		Versions: versionsOf(rivals, servers),
	}
}

// rivals are the modules whose versions a reader wants to know.
var rivals = []string{
	"github.com/maypok86/otter/v2", "github.com/Yiling-J/theine-go", "github.com/dgraph-io/ristretto/v2", "github.com/hashicorp/golang-lru/v2",
	"github.com/golang/groupcache", "github.com/viccon/sturdyc", "github.com/puzpuzpuz/xsync/v4",
	"github.com/redis/rueidis", "github.com/redis/go-redis/v9", "github.com/bradfitz/gomemcache",
}

var servers = []string{"redis-server", "memcached"}

var digits = regexp.MustCompile(`\d+(\.\d+)+`)

// versionsOf asks the program itself, and the servers.
func versionsOf(modules, programs []string) map[string]string {
	versions := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if slices.Contains(modules, m.Path) {
				versions[m.Path] = m.Version
			}
		}
	}
	for _, p := range programs {
		said, _ := exec.Command(p, "--version").Output()
		versions[p] = digits.FindString(string(said))
	}
	return versions
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
