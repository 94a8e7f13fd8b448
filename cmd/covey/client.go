package main

// client.go asks a member of the group.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/coveycache/covey"
)

// A client asks the member at a URL.
type client struct {
	base    string // ends in a slash
	secret  string
	from    string // where the secret is from; "": there is none
	timeout time.Duration
	http    *http.Client
}

func newClient(at, secretFile string, files tlsFiles, env func(string) string) (*client, error) {
	tls, err := files.config()
	if err != nil {
		return nil, err
	}
	c := &client{http: &http.Client{
		// Members are reached as they reach each other: without a proxy.
		Transport: &http.Transport{TLSClientConfig: tls},
		// A redirect may lead anywhere, and the secret is for the member alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	name := "-url"
	if at == "" {
		name, at = "COVEY_URL", env("COVEY_URL")
	}
	if at == "" {
		return nil, errors.New("neither -url nor COVEY_URL is set: it takes the URL of any member, such as http://10.0.0.7:8080")
	}
	if c.base, err = baseOf(at); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c.secret, c.from = env("COVEY_SECRET"), "COVEY_SECRET"
	if secretFile != "" {
		b, err := os.ReadFile(secretFile)
		if err != nil {
			return nil, fmt.Errorf("-secret-file: %w", err)
		}
		if c.secret, c.from = strings.TrimRight(string(b), "\r\n"), "-secret-file "+secretFile; c.secret == "" {
			return nil, fmt.Errorf("%s is empty", c.from)
		}
	}
	if c.secret == "" {
		c.from = ""
	}
	if strings.ContainsFunc(c.secret, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("%s: the secret has bytes that HTTP can't carry", c.from)
	}
	return c, nil
}

// baseOf returns the URL at which the group of a member is mounted.
func baseOf(at string) (string, error) {
	full := at
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	if err != nil {
		if e := new(url.Error); errors.As(err, &e) {
			err = e.Err
		}
		return "", fmt.Errorf("%q is no URL: %w", at, err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("%q must begin with http:// or https://", at)
	case u.Hostname() == "":
		return "", fmt.Errorf("%q has no host", at)
	case u.User != nil:
		return "", errors.New("the URL has a user: a secret belongs into COVEY_SECRET or -secret-file")
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("%q has a query or a fragment", at)
	}
	if u.Path == "" || u.Path == "/" {
		u = u.JoinPath(covey.DefaultPath)
	}
	return strings.TrimSuffix(u.String(), "/") + "/", nil
}

// A statusError is an answer that is an error.
type statusError struct {
	status int
	text   string // what the member says
	shown  string
}

func (e *statusError) Error() string { return e.shown }

// do sends a request and returns the answer, which is none of the errors, with its body.
func (c *client) do(ctx context.Context, method, path string, query url.Values) (http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	to := c.base + "v1/" + path
	if len(query) > 0 {
		to += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, to, nil)
	if err != nil {
		return nil, nil, err
	}
	if c.secret != "" {
		r.Header.Set("Authorization", "Bearer "+c.secret)
	}
	answer, err := c.http.Do(r)
	var body []byte
	if err == nil {
		defer answer.Body.Close()
		body, err = io.ReadAll(answer.Body)
	}
	switch {
	case ctx.Err() == context.Canceled:
		return nil, nil, errors.New("interrupted")
	case errors.Is(err, context.DeadlineExceeded):
		return nil, nil, fmt.Errorf("%s: no answer within -timeout %v", c.base, c.timeout)
	case err != nil:
		if e := new(url.Error); errors.As(err, &e) {
			err = e.Err // without the query
		}
		return nil, nil, fmt.Errorf("%s: %w", c.base, err)
	case answer.StatusCode >= 300:
		return nil, nil, c.errorOf(answer, strings.TrimSpace(string(body[:min(len(body), 1000)])))
	}
	return answer.Header, body, nil
}

// errorOf says what is wrong where the answer is an error.
func (c *client) errorOf(answer *http.Response, text string) error {
	e := &statusError{status: answer.StatusCode, text: text}
	said, isCovey := strings.CutPrefix(text, "covey: ")
	said = clean(said)
	switch {
	case answer.StatusCode < 400:
		e.shown = fmt.Sprintf("%s leads elsewhere, to %s: give that as -url if it is a member", c.base, clean(answer.Header.Get("Location")))
	case !isCovey:
		first, _, _ := strings.Cut(text, "\n")
		e.shown = fmt.Sprintf("%s: status %s (%s): is -url the URL of a member, with the path of its group, and is its version of covey not older than this command's?", c.base, answer.Status, clean(first))
	case answer.StatusCode == http.StatusUnauthorized && c.from == "":
		e.shown = fmt.Sprintf("%s wants a secret: set COVEY_SECRET or -secret-file to one of GroupOptions.Secrets", c.base)
	case answer.StatusCode == http.StatusUnauthorized:
		e.shown = fmt.Sprintf("%s does not take the secret of %s: it is none of GroupOptions.Secrets there", c.base, c.from)
	case answer.StatusCode == http.StatusForbidden && strings.Contains(text, "GroupOptions.Secrets"):
		e.shown = fmt.Sprintf("%s answers nothing to this command, as its group has no secrets: set GroupOptions.Secrets in all members, on one machine, too (it says: %s)", c.base, said)
	default:
		e.shown = fmt.Sprintf("%s: %s", c.base, said)
	}
	return e
}

// ask gets something in JSON.
func (c *client) ask(ctx context.Context, path string, query url.Values, result any) error {
	_, body, err := c.do(ctx, http.MethodGet, path, query)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, result); err != nil {
		return fmt.Errorf("%s: the answer is not what a member says: is -url right? (%w)", c.base, err)
	}
	return nil
}

func (c *client) peers(ctx context.Context) (all []covey.Peer, err error) {
	err = c.ask(ctx, "peers", nil, &all)
	return all, err
}

func (c *client) reports(ctx context.Context) (all []covey.Report, err error) {
	err = c.ask(ctx, "reports", nil, &all)
	return all, err
}
