package main

import "testing"

func TestCheck(t *testing.T) {
	if err := check(t.Context()); err != nil {
		t.Fatal(err)
	}
}
