package msg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// Recv is interrupted in the middle of a frame of whatever kind, and goes on there the next time.
func TestInterruptInFrame(t *testing.T) {
	frame := func(kind uint8, buffers int, parts ...[]byte) []byte {
		b := bytes.Join(parts, nil)
		return append(appendHeader(nil, header{uint32(len(b)), kind, buffers}), b...)
	}
	number := func(n ...uint32) (b []byte) {
		for _, n := range n {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
		return b
	}
	bulk := bytes.Repeat([]byte("0123456789abcdef"), 2<<10)
	refs := func(sizes ...int) (b []byte) {
		for _, n := range sizes {
			b = appendRef(b, ref{size: n})
		}
		return b
	}
	piece := frame(kindPiece, 0, number(1, 1000), make([]byte, 1000))
	for name, b := range map[string][]byte{
		"message":               frame(kindMessage, 0, []byte("the end")),
		"large message":         frame(kindMessage, 0, bulk),
		"message with a buffer": frame(kindMessage, 1, refs(5), []byte("data"), []byte("bytes")),
		"with large buffers":    frame(kindMessage, 2, refs(len(bulk), 7), bulk, bulk, []byte("7 bytes")),
		"with pieces":           slices.Concat(piece, frame(kindMessage, 1, appendRef(nil, ref{size: 1000, pieces: 1}))),
		"dropped":               slices.Concat(piece, frame(kindDrop, 0, number(1)), frame(kindMessage, 0, nil)),
		"ignored":               slices.Concat(frame(kindIgnored, 0, bulk), frame(kindMessage, 0, nil)),
	} {
		t.Run(name, func(t *testing.T) {
			x, y := net.Pipe()
			ch := New(x, nil)
			t.Cleanup(func() { ch.Close(); y.Close() })
			go io.Copy(io.Discard, y)
			go io.WriteString(y, "standpipe 1\nmax-message: 16777216\nmax-buffers: 1073741824\n\n")
			if _, err := ch.Greet(); err != nil {
				t.Fatal(err)
			}
			got := make(chan error, 1)
			var m Message
			step := max(1, len(b)/50)
			for at := 0; at < len(b)-1; at += step { // it stalls at all places
				go func() { _, err := ch.RecvInto(&m); got <- err }()
				y.Write(b[at:min(at+step, len(b)-1)])
				time.Sleep(100 * time.Microsecond)
				ch.Interrupt()
				select {
				case err := <-got:
					if !errors.Is(err, ErrInterrupted) {
						t.Fatalf("at byte %d: %v", at, err)
					}
				case <-time.After(5 * time.Second):
					t.Fatalf("at byte %d of %d it is not interrupted", at, len(b))
				}
			}
			go y.Write(b[len(b)-1:])
			if len(m.Buffers) > 0 {
				t.Error("there are Buffers before the end")
			}
			if _, err := ch.RecvInto(&m); err != nil {
				t.Fatal(err)
			}
			content := slices.Clone(m.Data)
			for _, b := range m.Buffers {
				content = append(content, b.Bytes()...)
				b.Release()
			}
			want := b[len(b)-len(content):]
			if name == "with pieces" {
				want = make([]byte, 1000)
			}
			if !bytes.Equal(content, want) {
				t.Errorf("%d bytes came, and others than were sent", len(content))
			}
		})
	}
}
