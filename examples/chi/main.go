// Chi has a group inside a chi router, behind middleware that compresses and that asks for a password:
// the group's path goes past both, as members prove to each other that they know the secret, and the
// dashboard behind the password.
//
//	go run . -addr 127.0.0.1:8080 -peers http://127.0.0.1:8080,http://127.0.0.1:8081
//
// needs the group's secret and the operator's password in SECRET and PASSWORD.
package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/coveycache/covey"
	"github.com/coveycache/covey/dashboard"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address of this process")
	peers := flag.String("peers", "http://127.0.0.1:8080", "comma-separated `URLs` of all processes")
	selftest := flag.Bool("selftest", false, "start two processes in one, ask them, and exit")
	flag.Parse()
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *selftest {
		if err := check(ctx); err != nil {
			log.Fatal(err)
		}
		return
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	options := covey.GroupOptions{
		Self: "http://" + *addr, Discovery: covey.StaticPeers(strings.Split(*peers, ",")...), Secrets: [][]byte{[]byte(os.Getenv("SECRET"))},
	}
	p, err := start(l, options, os.Getenv("PASSWORD"))
	if err != nil {
		log.Fatal(err)
	}
	<-ctx.Done()
	if err := p.stop(); err != nil {
		log.Fatal(err)
	}
}

// A process serves users.
type process struct {
	url    string
	group  *covey.Group
	users  *covey.Cache[string]
	server *http.Server
}

func start(l net.Listener, options covey.GroupOptions, password string) (*process, error) {
	if password == "" {
		return nil, errors.New("the operator's password is empty: set PASSWORD")
	}
	group, err := covey.NewGroup(options)
	if err != nil {
		return nil, err
	}
	users, err := covey.New("users", covey.Options[string]{TTL: 10 * time.Minute, Loader: loadUser, Group: group})
	if err != nil {
		return nil, errors.Join(err, group.Shutdown(context.Background()))
	}
	board, err := dashboard.New(dashboard.Options{Group: group, Caches: []dashboard.Cache{users}, Guarded: true})
	if err != nil {
		return nil, errors.Join(err, group.Shutdown(context.Background()))
	}
	router := chi.NewRouter()
	router.Use(middleware.Recoverer)
	router.Mount(group.Path(), group) // past what follows
	router.Group(func(r chi.Router) {
		r.Use(middleware.Compress(5))
		r.Get("/users/{id}", serveUser(users))
		r.With(asks(password)).Mount("/covey/", board)
	})
	p := &process{url: options.Self, group: group, users: users, server: &http.Server{Handler: router, ReadHeaderTimeout: 5 * time.Second}}
	go func() {
		if err := p.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Print(err)
		}
	}()
	return p, nil
}

// stop ends the server and then the group, each with a deadline of its own.
func (p *process) stop() error {
	within := func(d time.Duration, f func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		return f(ctx)
	}
	return errors.Join(within(5*time.Second, p.server.Shutdown), within(10*time.Second, p.group.Shutdown))
}

func loadUser(_ context.Context, id string) (string, error) {
	return strings.Repeat("All that is known of user "+id+". ", 100), nil
}

func serveUser(users *covey.Cache[string]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, err := users.Get(r.Context(), chi.URLParam(r, "id"), nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, user)
	}
}

// asks has requests give the operator's password.
func asks(password string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, given, _ := r.BasicAuth()
			if subtle.ConstantTimeCompare([]byte(given), []byte(password)) != 1 {
				w.Header().Set("WWW-Authenticate", `Basic realm="covey"`)
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
