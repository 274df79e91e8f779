//go:build !race

package rpc_test

import (
	"bytes"
	"context"
	"math"
	"runtime"
	"testing"

	"github.com/standpipe/standpipe/rpc"
)

// alloced is a value as programs have them.
type alloced struct {
	ID   uint64
	Name string
	Data []byte
}

// allocs is what a run of f allocates, in the whole program: both ends of a connection. It is testing.AllocsPerRun, but for that it
// neither rounds nor leaves the program one processor only, on which calls are slow and the timers of those who wait count, too.
//
// What else goes on in the program counts, too, such as the end of an earlier test: so it is the least of three, where the first is above most.
func allocs(runs int, most float64, f func()) float64 {
	for range runs / 4 { // until all is there that is used again
		f()
	}
	least := math.Inf(1)
	for try := 0; try < 3 && least > most; try++ {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			f()
		}
		runtime.ReadMemStats(&after)
		least = min(least, float64(after.Mallocs-before.Mallocs)/float64(runs))
	}
	return least
}

// A call of Raws allocates nothing, but for the handlers' contexts, of which several are made at a time.
func TestAllocsOfRaw(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "echo", func(_ context.Context, in rpc.Raw) (rpc.Raw, error) { return in, nil })
	p := startServing(t, s).dial(t, nil)
	for _, n := range []int{0, 100, 4000, 20 << 10} {
		in, out := rpc.Raw{Data: bytes.Repeat([]byte{1}, n)}, rpc.Raw{Data: make([]byte, n)}
		got := allocs(2000, 0.2, func() {
			if err := p.Call(context.Background(), "echo", &in, &out); err != nil || len(out.Data) != n {
				t.Fatal(len(out.Data), err)
			}
		})
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
	got := allocs(2000, 4.2, func() {
		out, err := rpc.Call[alloced](context.Background(), p, "echo", v)
		if err != nil || out.Name != v.Name || len(out.Data) != 100 {
			t.Fatal(out, err)
		}
	})
	if got > 4.2 {
		t.Errorf("a call of a struct allocates %v times", got)
	}
}
