//go:build linux || windows

package rpc

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
)

// deaf is a Peer in the ring whose other side has stopped to read.
func deaf(t *testing.T) *Peer {
	t.Helper()
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := NewPeer(b, &DialConfig{Ring: msg.RingOn})
	ch := msg.New(a, &msg.Config{Ring: msg.RingOn, Keys: map[string]string{"codecs": "msgpack", "max-calls": "1024", "window": "65536"}})
	t.Cleanup(func() { ch.Close(); p.Close() })
	for !p.ch.InRing() {
		if err := p.ch.SendData(t.Context(), appendCancel(nil, 99, Canceled)); err != nil {
			t.Fatal(err)
		}
		if _, err := ch.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// A full ring holds up no caller beyond its context, however little it has to say.
func TestDeadlineInFullRing(t *testing.T) {
	p := deaf(t)
	for _, n := range []int{10, 4000, 1 << 20, 3 << 20, 10} {
		for range 20 { // of the small ones, some find room
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			start := time.Now()
			in := Raw{Data: make([]byte, n)}
			_, err := Call[Raw](ctx, p, "m", in)
			cancel()
			var e *Error
			if took := time.Since(start); !errors.As(err, &e) || e.Code != DeadlineExceeded || took > 2*time.Second {
				t.Fatalf("%d bytes: %v after %v", n, err, took)
			}
		}
	}
}
