package main

// keys.go gets, explains and deletes single keys.

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coveycache/covey"
)

// cacheName returns the cache that is meant.
func (c *call) cacheName() (string, error) {
	if c.cache != "" {
		return c.cache, nil
	}
	var self []covey.Report
	if err := c.client.ask(c.ctx, "reports", url.Values{"of": {"self"}}, &self); err != nil {
		return "", err
	}
	var names []string
	for _, r := range self {
		for _, one := range r.Caches {
			names = append(names, one.Name)
		}
	}
	switch len(names) {
	case 0:
		return "", fmt.Errorf("%s has no cache: ask another member", c.client.base)
	case 1:
		return names[0], nil
	}
	return "", usagef("%s has %d caches, say by -cache which is meant: %s", c.client.base, len(names), clean(strings.Join(names, ", ")))
}

// forKey sends a request for the key.
func (c *call) forKey(method string) (cache string, h http.Header, body []byte, err error) {
	if cache, err = c.cacheName(); err != nil {
		return "", nil, nil, err
	}
	h, body, err = c.client.do(c.ctx, method, "caches/"+url.PathEscape(cache), url.Values{"key": {c.key}})
	return cache, h, body, err
}

// A value is what get prints in JSON.
type value struct {
	Cache, Key string
	Value      []byte // as the cache's Codec encodes it
	Version    uint64 `json:",omitempty"`
	// Age is the time since its Put or load, and TTL the time for which it stays fresh; 0: it always
	// does. Both are in nanoseconds and come in whole seconds.
	Age time.Duration
	TTL time.Duration `json:",omitempty"`
}

func (c *call) get() error {
	cache, h, body, err := c.forKey(http.MethodGet)
	if e := new(statusError); errors.As(err, &e) && e.text == covey.ErrNotFound.Error() {
		return fmt.Errorf("cache %s has no %s", shown(cache), strconv.Quote(c.key))
	} else if errors.As(err, &e) && e.text == covey.ErrNoLoader.Error() {
		return fmt.Errorf("cache %s has no %s, and no Options.Loader to load it", shown(cache), strconv.Quote(c.key))
	}
	if err != nil {
		return err
	}
	if got := h.Get("Content-Type"); got != "application/octet-stream" {
		return fmt.Errorf("%s: the answer is not what a member says, but %s: is -url right?", c.client.base, clean(got))
	}
	if c.json {
		v := value{Cache: cache, Key: c.key, Value: body}
		seconds := func(text string) time.Duration {
			n, _ := strconv.ParseInt(text, 10, 64)
			return time.Duration(n) * time.Second
		}
		v.Age = seconds(h.Get("Age"))
		if age, ok := strings.CutPrefix(h.Get("Cache-Control"), "max-age="); ok {
			v.TTL = seconds(age)
		}
		v.Version, _ = strconv.ParseUint(strings.Trim(h.Get("ETag"), `"`), 10, 64)
		return c.print(v)
	}
	if c.isTerminal {
		if !isText(body) {
			return fmt.Errorf("the value has %s that are no text for a terminal: redirect it, or use -json", size(int64(len(body))))
		}
		body = append(body, '\n')
	}
	_, err = c.out.Write(body)
	return err
}

// isText reports whether a terminal shows something, and takes nothing of it as a command.
func isText(b []byte) bool {
	return utf8.Valid(b) && !strings.ContainsFunc(string(b), func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r'
	})
}

func (c *call) explain() error {
	cache, err := c.cacheName()
	if err != nil {
		return err
	}
	var e covey.Explanation
	if err := c.client.ask(c.ctx, "explain", url.Values{"cache": {cache}, "key": {c.key}}, &e); err != nil {
		return err
	}
	if c.json {
		return c.print(e)
	}
	var names []string
	for _, name := range e.Custodians {
		names = append(names, shown(name))
	}
	c.table(func(row func(...any)) {
		row("key", strconv.Quote(e.Key))
		row("cache", shown(e.Cache))
		row("asked", shown(e.Self))
		row("owner", or(shown(e.Owner), "none: the group has no members yet"))
		row("custodians", or(strings.Join(names, ", "), "none"))
	})
	fmt.Fprintln(c.out)
	c.table(func(row func(...any)) {
		row("PROCESS", "HAS", "AGE", "TTL", "VERSION", "BYTES", "LAST WRITE", "NOTES")
		for i := range e.States {
			s := &e.States[i]
			if s.Err != nil {
				row(shown(s.Peer), "?", "", "", "", "", "", "does not answer: "+clean(s.Err.Error()))
				continue
			}
			write := ""
			if !s.Written.IsZero() {
				write = fmt.Sprintf("%s %s", s.Write, s.Written.Local().Format(time.DateTime))
			}
			if s.Source == 0 {
				row(shown(s.Peer), "nothing", "", "", "", "", write, notes(s))
				continue
			}
			row(shown(s.Peer), sources[s.Source], short(s.Age), ttl(s.TTL), version(s.Version), size(s.Bytes), write, notes(s))
		}
	})
	return nil
}

var sources = map[covey.Source]string{covey.SourceMain: "as owner", covey.SourceReplica: "replica", covey.SourceL1: "copy"}

func ttl(d time.Duration) string {
	switch {
	case d == 0:
		return "for ever"
	case d < 0:
		return "over"
	}
	return short(d)
}

func version(n uint64) string {
	if n == 0 { // there is none
		return "-"
	}
	return strconv.FormatUint(n, 10)
}

// notes returns what else there is to be said of what a process has.
func notes(s *covey.KeyState) string {
	var all []string
	note := func(yes bool, format string, args ...any) {
		if yes {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	note(s.Source != 0 && !s.Usable, "not served")
	note(s.Stale, "stale")
	note(s.NotFound, "stands for not found")
	note(s.Lender != "", "lent by %s, for %s unless renewed", shown(s.Lender), short(s.Lease))
	for _, l := range s.Lent {
		if l.For == 0 {
			note(true, "lent to %s", shown(l.Peer))
		} else {
			note(true, "lent to %s for %s", shown(l.Peer), short(l.For))
		}
	}
	if f := s.Loading; f != nil {
		note(true, "loading for %s, %d wait", short(f.Age), f.Waiters)
	}
	note(!s.Recalled.IsZero(), "recalled %s", s.Recalled.Local().Format(time.DateTime))
	return strings.Join(all, "; ")
}

func (c *call) delete() error {
	cache, err := c.cacheName()
	if err != nil {
		return err
	}
	c.cache = cache
	if !c.yes {
		fmt.Fprintf(c.err, "Delete %s of cache %s in the group of %s? [y/N] ", strconv.Quote(c.key), shown(cache), c.client.base)
		answer, err := bufio.NewReader(c.in).ReadString('\n')
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			if err != nil {
				fmt.Fprintln(c.err)
			}
			return errors.New("nothing was deleted: answer y, or use -yes")
		}
	}
	_, _, _, err = c.forKey(http.MethodDelete)
	if e := new(statusError); errors.As(err, &e) && e.text == covey.ErrUnconfirmed.Error() {
		return fmt.Errorf("the deletion of %s is not confirmed (ErrUnconfirmed): a member that owns or holds the key did not answer, so the old value may be served there. "+
			"The group goes on trying in the background; to be sure delete it again, or see what covey explain says", strconv.Quote(c.key))
	}
	if err != nil {
		return err
	}
	if c.json {
		return c.print(struct {
			Cache, Key string
			Deleted    bool
		}{cache, c.key, true})
	}
	fmt.Fprintf(c.out, "deleted %s of cache %s\n", strconv.Quote(c.key), shown(cache))
	return nil
}

func (c *call) print(v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
