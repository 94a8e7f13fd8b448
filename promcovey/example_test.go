package promcovey_test

import (
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
