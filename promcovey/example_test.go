package promcovey_test

import (
	"errors"
	"log"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/coveycache/covey"
	"github.com/coveycache/covey/promcovey"
)

func ExampleNew() {
	users, err := covey.New("users", covey.Options[string]{MaxBytes: 64 << 20})
	if err != nil {
		log.Fatal(err)
	}
	metrics := promcovey.New(promcovey.Options{})
	if err := metrics.AddCache(users); err != nil { // and AddGroup, if there is one
		log.Fatal(err)
	}
	prometheus.MustRegister(metrics)
	http.Handle("/metrics", promhttp.Handler())
}

// A process that is in a group exports what it knows of the group, too.
func Example_group() {
	group, err := covey.NewGroup(covey.GroupOptions{Self: "http://127.0.0.1:8080", Discovery: covey.StaticPeers("http://127.0.0.1:8080")})
	if err != nil {
		log.Fatal(err)
	}
	users, err := covey.New("users", covey.Options[string]{Group: group})
	if err != nil {
		log.Fatal(err)
	}
	metrics := promcovey.New(promcovey.Options{})
	err = errors.Join(metrics.AddCache(users), metrics.AddGroup(group), prometheus.Register(metrics))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle(group.Path(), group)
	http.Handle("/metrics", promhttp.Handler())
}
