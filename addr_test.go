package standpipe_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/standpipe/standpipe"
)

// TestParseAddr: the grammar, which is the same everywhere; spec/vectors/address has the places.
func TestParseAddr(t *testing.T) {
	long := strings.Repeat("a", 128)
	for name, want := range map[string]string{
		"calc": "calc", "Calc": "calc", "a": "a", "7": "7", "a.b-c_d": "a.b-c_d", "shared:Calc": "shared:calc",
	} {
		a, err := standpipe.ParseAddr(name)
		if err != nil || a.Name() != want || a.String() == "" || a.Network() == "" {
			t.Errorf("%q: %#v, %v", name, a, err)
		}
	}
	for name, want := range map[string]string{
		"": "bad-name", "shared:": "bad-name", ".a": "bad-name", "-a": "bad-name", "a.": "bad-name", "a b": "bad-name",
		"a/b": "bad-name", `a\b`: "bad-name", "a:b": "bad-name", "shared:shared:a": "bad-name", "Shared:a": "bad-name",
		"ä": "bad-name", "a\n": "bad-name", "a\x00": "bad-name", "./a": "bad-name", "..": "bad-name", `\\host\pipe\a`: "bad-name",
		long + "a": "too-long", "shared:" + long + "a": "too-long",
	} {
		_, err := standpipe.ParseAddr(name)
		var op *net.OpError
		if verdict(err) != want || !errors.As(err, &op) || op.Op != "parse" {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
		for _, err := range []error{second(standpipe.Listen(name, nil)), second(standpipe.Dial(soon(t), name, nil))} {
			if verdict(err) != want {
				t.Errorf("%q in use: %v, want %s", name, err, want)
			}
		}
	}
	if !errors.Is(standpipe.ErrNameTooLong, standpipe.ErrBadName) {
		t.Error("a name that is too long is a bad one")
	}
}

func second[T any](_ T, err error) error { return err }

// FuzzParseAddr: whatever the name, it is refused as a name, or leads to one place by all of its spellings.
func FuzzParseAddr(f *testing.F) {
	for _, s := range []string{"calc", "shared:Calc", "/tmp/a.sock", "@a", `\\.\pipe\a`, "a\x00b", "", "shared:", "a.", strings.Repeat("x", 129)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		a, err := standpipe.ParseAddr(name)
		if err != nil {
			if !errors.Is(err, standpipe.ErrBadName) {
				t.Fatalf("%q: %v", name, err)
			}
			return
		}
		if strings.ContainsRune(a.String(), 0) {
			t.Fatalf("%q has the path %q", name, a.String())
		}
		again, err := standpipe.ParseAddr(a.Name())
		if err != nil || again != a {
			t.Fatalf("%q is %#v; by its own name it is %#v, %v", name, a, again, err)
		}
		path, err := standpipe.ParseAddr(a.String())
		if err != nil || path.String() != a.String() {
			t.Fatalf("%q leads to %q, which is %#v, %v", name, a.String(), path, err)
		}
	})
}
