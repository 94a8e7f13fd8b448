package main

import (
	"errors"
	"os"
	"testing"
)

func TestFeedWithAGap(t *testing.T) {
	err := run(t.Context(), func(args ...any) (int, error) {
		t.Log(args...)
		return 0, nil
	})
	if errors.Is(err, errNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}
