package main

import (
	"fmt"
	"testing"
)

func TestRun(t *testing.T) {
	if err := run(t.Context(), fmt.Println); err != nil {
		t.Fatal(err)
	}
}
