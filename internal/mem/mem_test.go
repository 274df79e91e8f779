package mem

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func needed(t *testing.T) {
	t.Helper()
	if Kind == "" {
		if _, err := Create(Least); !errors.Is(err, errors.ErrUnsupported) {
			t.Fatalf("no segments here, but Create says %v", err)
		}
		t.Skip("this system has no segments")
	}
}

func TestShare(t *testing.T) {
	needed(t)
	made, err := Create(3 * Least)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	taken, err := Map(dup(t, made.file), 3*Least)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	copy(made.Bytes()[Least:], "hello")
	if got := string(taken.Bytes()[Least : Least+5]); got != "hello" || len(taken.Bytes()) != 3*Least {
		t.Fatalf("%q in %d bytes", got, len(taken.Bytes()))
	}
	made.Close()
	if got := string(taken.Bytes()[Least : Least+5]); got != "hello" {
		t.Fatalf("after its maker has closed: %q", got)
	}
}

func TestSizes(t *testing.T) {
	needed(t)
	for _, size := range []int64{-1, 0, 1, Least - 1, Least + 1, 1 << 32, 1 << 40} {
		if s, err := Create(size); err == nil {
			s.Close()
			t.Errorf("Create(%d) made one", size)
		}
	}
	made, err := Create(2 * Least)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	for _, size := range []int64{-1, 0, Least + 1, 3 * Least, 16 << 20} {
		if s, err := Map(dup(t, made.file), size); err == nil {
			s.Close()
			t.Errorf("a segment of %d bytes was mapped with %d", 2*Least, size)
		}
	}
}

// What can be cut while it is read must not be mapped, or the peer could kill this process.
func TestNoFiles(t *testing.T) {
	needed(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(Least); err != nil {
		t.Fatal(err)
	}
	s, err := Map(handover(t, f), Least)
	if err == nil {
		s.Close()
		t.Fatal("a file was mapped")
	}
}
