package otelcovey_test

import (
	"errors"
	"log"

	"github.com/coveycache/covey"
	"github.com/coveycache/covey/otelcovey"
)

func ExampleNew() {
	group, err := covey.NewGroup(covey.GroupOptions{Self: "http://127.0.0.1:8080", Discovery: covey.StaticPeers("http://127.0.0.1:8080")})
	if err != nil {
		log.Fatal(err)
	}
	// The SDK's providers have been set by otel.SetTracerProvider and otel.SetMeterProvider.
	if err := observed(group); err != nil {
		log.Fatal(err)
	}
}

func observed(group *covey.Group) error {
	telemetry, err := otelcovey.New(otelcovey.Options{})
	if err != nil {
		return err
	}
	users, err := covey.New("users", covey.Options[string]{Group: group, Tracer: telemetry})
	if err != nil {
		return err
	}
	err = errors.Join(telemetry.AddCache(users), telemetry.AddGroup(group))
	return err
}
