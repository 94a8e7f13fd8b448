package trace

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func write(t *testing.T, file string, words ...uint64) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := binary.Write(z, binary.LittleEndian, words); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	folder := t.TempDir()
	one, two := filepath.Join(folder, "one.bin.gz"), filepath.Join(folder, "two.sized.bin.gz")
	write(t, one, 1<<60, 7, 1<<60, 9)
	write(t, two, 5, 100, 6, 0, 5, 300)
	want := []*Trace{
		{Name: "one", Keys: []uint32{0, 1, 0, 2}, Unique: 3},
		{Name: "two", Keys: []uint32{0, 1, 0}, Unique: 2, Sizes: []uint32{100, 1}},
	}
	for _, paths := range [][]string{{folder}, {one, two}} {
		got, err := Load(paths)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("Load(%v) = %+v, want %+v", paths, got, want)
		}
	}
	if got := want[1].TotalBytes(); got != 101 {
		t.Errorf("TotalBytes = %d, want 101", got)
	}
}

func TestLoadRefusesBrokenFiles(t *testing.T) {
	folder := t.TempDir()
	if _, err := Load([]string{folder}); err == nil {
		t.Error("a folder without traces was accepted")
	}
	if _, err := Load([]string{filepath.Join(folder, "absent.bin.gz")}); err == nil {
		t.Error("an absent file was accepted")
	}
	plain := filepath.Join(folder, "plain.bin.gz")
	if err := os.WriteFile(plain, []byte("not compressed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load([]string{plain}); err == nil {
		t.Error("a file that is not compressed was accepted")
	}
	odd := filepath.Join(folder, "odd.sized.bin.gz")
	write(t, odd, 1, 2, 3)
	if _, err := Load([]string{odd}); err == nil {
		t.Error("a key without a size was accepted")
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte("12 bytes only"))
	_ = z.Close()
	short := filepath.Join(folder, "short.bin.gz")
	if err := os.WriteFile(short, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load([]string{short}); err == nil {
		t.Error("half a key was accepted")
	}
}

func TestGeneratorsRepeatThemselves(t *testing.T) {
	if a, b := Generate(20_000), Generate(20_000); !reflect.DeepEqual(a, b) {
		t.Error("Generate differs from call to call")
	}
	a, b := GenerateSized(20_000), GenerateSized(20_000)
	if !reflect.DeepEqual(a, b) {
		t.Error("GenerateSized differs from call to call")
	}
	for _, tr := range append(Generate(20_000), a...) {
		if len(tr.Keys) != 20_000 || tr.Unique < 1000 {
			t.Errorf("%s: %d requests for %d keys", tr.Name, len(tr.Keys), tr.Unique)
		}
		if tr.Sizes != nil && len(tr.Sizes) != tr.Unique {
			t.Errorf("%s: %d sizes for %d keys", tr.Name, len(tr.Sizes), tr.Unique)
		}
	}
}

func TestZipf(t *testing.T) {
	const n, draws = 100, 200_000
	z := NewZipf(rand.New(rand.NewPCG(1, 1)), 1, n)
	var counts [n]float64
	for range draws {
		counts[z.Next()]++
	}
	harmonic := 0.0
	for r := range n {
		harmonic += 1 / float64(r+1)
	}
	for _, r := range []int{0, 1, 9, 99} {
		want := draws / harmonic / float64(r+1)
		if counts[r] < 0.85*want || counts[r] > 1.15*want {
			t.Errorf("rank %d was drawn %.0f times, expected about %.0f", r, counts[r], want)
		}
	}
}
