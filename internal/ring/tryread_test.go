package ring

import (
	"errors"
	"testing"
)

// TryRead reads what is there, and waits for nothing, whatever the peer does.
func TestTryRead(t *testing.T) {
	a, b, _, _ := pair(t, Least)
	p := make([]byte, 8)
	if n := b.TryRead(p); n != 0 {
		t.Error(n)
	}
	a.Write([]byte("hello, you"))
	for _, want := range []string{"hello, y", "ou", ""} {
		if n := b.TryRead(p); string(p[:n]) != want {
			t.Errorf("%q, not %q", p[:n], want)
		}
	}
	b.theirs.head.Add(2 * Least)
	if n := b.TryRead(p); n != 0 {
		t.Errorf("%d bytes that are not there", n)
	}
	if _, err := b.Read(p); !errors.Is(err, ErrBroken) {
		t.Error(err)
	}
}
