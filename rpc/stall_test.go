package rpc

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// A lone caller who reads its own answer leaves when its context ends, though the peer has stalled in the middle of a piece.
func TestDeadlineInPiece(t *testing.T) {
	a, c := net.Pipe()
	p := NewPeer(c, nil)
	defer func() { a.Close(); p.Close() }()
	frame := func() []byte {
		h := make([]byte, 8)
		if _, err := io.ReadFull(a, h); err != nil {
			return nil
		}
		b := make([]byte, binary.LittleEndian.Uint32(h))
		io.ReadFull(a, b)
		return b
	}
	go func() {
		io.WriteString(a, "standpipe 1\nmax-message: 16777216\nmax-buffers: 1073741824\ncodecs: msgpack\nmax-calls: 1024\nwindow: 65536\n\n")
		var hello []byte
		for one := make([]byte, 1); len(hello) < 2 || string(hello[len(hello)-2:]) != "\n\n"; hello = append(hello, one...) {
			if _, err := a.Read(one); err != nil {
				return
			}
		}
		for i := 0; ; i++ {
			open := frame()
			if open == nil {
				return
			}
			if open[4] != typeOpen {
				continue
			}
			if i < 3 { // it answers
				b := []byte{9, 0, 0, 0, 1, 0, 0, 0}
				b = append(b, open[:4]...)
				b = append(b, typeClose, flagValue, 0, 0, 0xc0)
				a.Write(b)
				continue
			}
			// the 4th: an answer that begins with a piece, which stalls
			b := []byte{108, 0, 0, 0, 8, 0, 0, 0}
			b = append(b, 1, 0, 0, 0, 0xe8, 3, 0, 0)
			a.Write(append(b, make([]byte, 50)...))
			io.Copy(io.Discard, a)
			return
		}
	}()
	for i := range 4 {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		done := make(chan error, 1)
		go func() { _, err := Call[any](ctx, p, "m", "x"); done <- err }()
		select {
		case err := <-done:
			if (i == 3) != (CodeOf(err) == DeadlineExceeded) {
				t.Errorf("call %d: %v", i, err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the call goes on 9.7 s after its deadline")
		}
		cancel()
	}
}
