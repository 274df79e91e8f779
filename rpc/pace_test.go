package rpc

import (
	"context"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
)

// Calls whose values are large and slow don't keep small ones, which are quick, out of the reader.
func TestPaceBySize(t *testing.T) {
	s := NewServer(nil)
	Handle(s, "take", func(_ context.Context, b []byte) (int, error) {
		if len(b) > smallValue {
			time.Sleep(2 * quickTime)
		}
		return len(b), nil
	})
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	client, server := NewPeer(a, nil), newPeer(b, options{server: s}.fill(), false)
	defer func() {
		client.Close()
		server.Close()
		<-client.Done()
		<-server.Done()
	}()
	for i := range 40 {
		for _, n := range []int{10, smallValue + 100} {
			if got, err := Call[int](t.Context(), client, "take", make([]byte, n)); err != nil || got != n {
				t.Fatal(i, got, err)
			}
		}
	}
	m := s.lookup([]byte("take"))
	if m.large.slow.Load() == 0 {
		t.Error("what is slow is not known to be")
	}
	if m.small.last.Load() >= mostSlow/4 { // hiccups of a loaded machine are no proof
		t.Errorf("small calls are kept out of the reader, %d of them", m.small.last.Load())
	}
}
