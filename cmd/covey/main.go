// Covey shows what a group of caches does, and explains, gets and deletes single keys, in a terminal.
// It asks any one member of the group over HTTP.
//
//	covey [flags] peers        the members: state, share of the keys, round trip, what they hold
//	covey [flags] stats        the caches, summed up over all members
//	covey [flags] hot          the keys that are asked for most
//	covey [flags] get KEY      the value of a key, as the cache's Codec encodes it; it may be loaded
//	covey [flags] explain KEY  who owns a key, who has it and until when, and what was done to it last
//	covey [flags] delete KEY   delete a key in the whole group
//	covey [flags] watch        members and caches with their rates, every 2 s until it is interrupted
//
// Flags may come after the command and the key, too; a key that begins with a dash comes after "--".
//
//	-url URL           of any member: http(s)://host:port with the path of its group, or host:port.
//	                   Default: the variable COVEY_URL. Default of the path: /_covey/
//	-secret-file FILE  has one of the group's secrets; newlines at its end don't count. Default: the
//	                   secret is in the variable COVEY_SECRET
//	-ca FILE           PEM with the certificates of the authorities that the members' certificates are
//	                   from. Default: those that the system trusts
//	-cert FILE         PEM with a certificate, and those that lead to its authority, for members that
//	                   ask for one; -cert-key FILE has its private key, if the same file doesn't
//	-cache NAME        of the cache. Default: the only one that the member has; for stats, all
//	-json              JSON instead of tables: lists of covey.Peer, Report and HotKey, a
//	                   covey.Explanation; of a value {"Cache", "Key", "Value" (in base64), ...}; watch
//	                   prints a line {"At", "Peers", "Reports"} each time
//	-timeout DURATION  how long to wait for an answer. Default: 10s
//	-yes               delete without asking
//
// The exit status is 0 if all went well, 1 if a key is not there or something failed, 2 for a mistake
// in the command line. A group without GroupOptions.Secrets answers nothing to this command. What
// travels includes the secret, so use https where the network isn't trusted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], &surroundings{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv, isTerminal: isTerminal(os.Stdout), every: 2 * time.Second,
	}))
}

// Surroundings are what a run has around it.
type surroundings struct {
	in         io.Reader
	out, err   io.Writer
	env        func(name string) string
	isTerminal bool          // out is one
	every      time.Duration // that watch asks, or more seldom in a large group
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// A command is one of those that the command has.
type command struct {
	name string
	key  bool // it takes one
	does string
	run  func(*call) error
}

func commands() []command {
	return []command{
		{"peers", false, "the members: state, share of the keys, round trip, what they hold", (*call).peers},
		{"stats", false, "the caches, summed up over all members", (*call).stats},
		{"hot", false, "the keys that are asked for most", (*call).hot},
		{"get", true, "the value of a key, as the cache's Codec encodes it; it may be loaded", (*call).get},
		{"explain", true, "who owns a key, who has it and until when, and what was done to it last", (*call).explain},
		{"delete", true, "delete a key in the whole group", (*call).delete},
		{"watch", false, "members and caches with their rates, every 2 s until it is interrupted", (*call).watch},
	}
}

// A call is one run of a command.
type call struct {
	*surroundings
	ctx     context.Context
	client  *client
	cache   string // "": none was named
	key     string
	json    bool
	yes     bool
	timeout time.Duration
}

// A usageError is a mistake in the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run runs the command and returns its exit status.
func run(ctx context.Context, args []string, s *surroundings) int {
	err := start(ctx, args, s)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		usage(s.out)
		return 0
	}
	fmt.Fprintln(s.err, "covey:", err)
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}

func start(ctx context.Context, args []string, s *surroundings) error {
	c := &call{surroundings: s, ctx: ctx}
	flags := flag.NewFlagSet("covey", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	at := flags.String("url", "", "")
	secretFile := flags.String("secret-file", "", "")
	var files tlsFiles
	flags.StringVar(&files.ca, "ca", "", "")
	flags.StringVar(&files.cert, "cert", "", "")
	flags.StringVar(&files.key, "cert-key", "", "")
	flags.StringVar(&c.cache, "cache", "", "")
	flags.BoolVar(&c.json, "json", false, "")
	flags.BoolVar(&c.yes, "yes", false, "")
	flags.DurationVar(&c.timeout, "timeout", 10*time.Second, "")
	words, err := parse(flags, args)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	if len(words) == 0 {
		usage(s.err)
		return usagef("a command is missing")
	}
	if words[0] == "help" {
		return flag.ErrHelp
	}
	all := commands()
	i := slices.IndexFunc(all, func(one command) bool { return one.name == words[0] })
	if i < 0 {
		return usagef("there is no command %q: covey -h lists those that there are", words[0])
	}
	switch one, rest := all[i], words[1:]; {
	case one.key && len(rest) == 0:
		return usagef("%s takes a key: covey %s KEY", one.name, one.name)
	case one.key && len(rest) == 1:
		c.key = rest[0]
	case len(rest) > 0:
		return usagef("%s: there is too much: %q; a key with spaces has to be quoted", one.name, rest)
	}
	if c.timeout <= 0 {
		return usagef("-timeout is %v, it must be positive", c.timeout)
	}
	if c.client, err = newClient(*at, *secretFile, files, s.env); err != nil {
		return usageError{err}
	}
	c.client.timeout = c.timeout
	return all[i].run(c)
}

// parse takes the flags out of the arguments, wherever they are, and returns the others.
func parse(flags *flag.FlagSet, args []string) (words []string, err error) {
	var last []string
	if i := slices.Index(args, "--"); i >= 0 {
		args, last = args[:i], args[i+1:]
	}
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if args = flags.Args(); len(args) == 0 {
			return append(words, last...), nil
		}
		words, args = append(words, args[0]), args[1:]
	}
}

func usage(w io.Writer) {
	var b strings.Builder
	b.WriteString("Covey shows what a group of caches does. It asks any member of the group.\n\n")
	for _, c := range commands() {
		name := c.name
		if c.key {
			name += " KEY"
		}
		fmt.Fprintf(&b, "  covey [flags] %-12s %s\n", name, c.does)
	}
	b.WriteString(`
  -url URL           of any member: http(s)://host:port with the path of its group, or host:port
                     (default $COVEY_URL; of the path: /_covey/)
  -secret-file FILE  with one of the group's secrets (default: $COVEY_SECRET is the secret)
  -ca FILE           PEM of the authorities of the members' certificates (default: the system's)
  -cert FILE         PEM of a certificate, for members that ask for one
  -cert-key FILE     PEM of its private key (default: the file of -cert)
  -cache NAME        of the cache (default: the only one that the member has; for stats, all)
  -json              JSON instead of tables
  -timeout DURATION  how long to wait for an answer (default 10s)
  -yes               delete without asking

A key that begins with a dash comes after "--". The exit status is 1 if a key is not there or
something failed, 2 for a mistake in the command line.
`)
	_, _ = io.WriteString(w, b.String())
}
