//go:build !race

package rpc_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/standpipe/standpipe/rpc"
)

// alloced is a value as programs have them.
type alloced struct {
	ID   uint64
	Name string
	Data []byte
}

// A call of Raws allocates nothing, but for the handlers' contexts, of which several are made at a time.
func TestAllocsOfRaw(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "echo", func(_ context.Context, in rpc.Raw) (rpc.Raw, error) { return in, nil })
	p := startServing(t, s).dial(t, nil)
	for _, n := range []int{0, 100, 4000, 20 << 10} {
		in, out := rpc.Raw{Data: bytes.Repeat([]byte{1}, n)}, rpc.Raw{Data: make([]byte, n)}
		const each = 100 // AllocsPerRun rounds down to a whole number, and counts the whole program: both ends
		got := testing.AllocsPerRun(50, func() {
			for range each {
				if err := p.Call(context.Background(), "echo", &in, &out); err != nil || len(out.Data) != n {
					t.Fatal(len(out.Data), err)
				}
			}
		}) / each
		if got > 0.2 {
			t.Errorf("a call of %d bytes allocates %.2f times", n, got)
		}
	}
}

// A call of a struct allocates what its text and its bytes are decoded to, at both ends.
func TestAllocsOfStruct(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "echo", func(_ context.Context, in alloced) (alloced, error) { return in, nil })
	p := startServing(t, s).dial(t, nil)
	v := alloced{ID: 1 << 40, Name: "a name of some length", Data: bytes.Repeat([]byte{1}, 100)}
	got := testing.AllocsPerRun(2000, func() {
		out, err := rpc.Call[alloced](context.Background(), p, "echo", v)
		if err != nil || out.Name != v.Name || len(out.Data) != 100 {
			t.Fatal(out, err)
		}
	})
	if got > 4 {
		t.Errorf("a call of a struct allocates %v times", got)
	}
}
