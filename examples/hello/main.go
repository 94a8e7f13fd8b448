// Hello is the program in README: a cache that loads what it misses.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/coveycache/covey"
)

func main() {
	users, err := covey.New("users", covey.Options[string]{MaxBytes: 256 << 20, TTL: 10 * time.Minute})
	if err != nil {
		panic(err)
	}
	defer users.Close()
	name, err := users.Get(context.Background(), "42", func(ctx context.Context, id string) (string, error) {
		return "user " + id, nil // here goes the query that you would rather not repeat
	})
	fmt.Println(name, err)
}
