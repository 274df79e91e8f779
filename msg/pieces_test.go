package msg_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/standpipe/standpipe/msg"
)

const (
	kindMessage, kindPiece, kindDrop = 1, 8, 9
	pieceSize                        = 256 << 10
)

// bare is a Channel that has greeted, and its peer as bytes.
func bare(t *testing.T) (*msg.Channel, net.Conn) {
	a, b := net.Pipe()
	ch := msg.New(a, nil)
	t.Cleanup(func() { ch.Close(); b.Close() })
	b.SetDeadline(time.Now().Add(20 * time.Second))
	done := make(chan error, 1)
	go func() { _, err := ch.Greet(); done <- err }()
	go io.WriteString(b, "standpipe 1\nmax-message: 16777216\nmax-buffers: 1073741824\n\n")
	var hello []byte
	for one := make([]byte, 1); !bytes.HasSuffix(hello, []byte("\n\n")); hello = append(hello, one...) {
		if _, err := b.Read(one); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return ch, b
}

// frame reads one.
func frame(t *testing.T, c net.Conn) (kind byte, buffers int, body []byte) {
	t.Helper()
	head := make([]byte, 8)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatal(err)
	}
	return rest(t, c, head)
}

func rest(t *testing.T, c net.Conn, head []byte) (kind byte, buffers int, body []byte) {
	t.Helper()
	body = make([]byte, binary.LittleEndian.Uint32(head))
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatal(err)
	}
	return head[4], int(binary.LittleEndian.Uint16(head[6:])), body
}

// A small message goes between the pieces of a large buffer.
func TestPiecesLetOthersGo(t *testing.T) {
	ch, peer := bare(t)
	b, err := ch.NewBuffer(t.Context(), 3*pieceSize+5)
	if err != nil {
		t.Fatal(err)
	}
	want := pattern(3, b.Len())
	copy(b.Bytes(), want)
	sent := make(chan error, 1)
	go func() { sent <- ch.Send(msg.Message{Data: []byte("large"), Buffers: []msg.Buffer{b}}) }()
	head := make([]byte, 8)
	if _, err := io.ReadFull(peer, head[:1]); err != nil { // it is being written
		t.Fatal(err)
	}
	if err := ch.Send(msg.Message{Data: []byte("small")}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(peer, head[1:]); err != nil {
		t.Fatal(err)
	}
	kind, _, body := rest(t, peer, head)
	var got []byte
	for small := false; ; kind, _, body = frame(t, peer) {
		switch {
		case kind == kindPiece:
			if n, size := binary.LittleEndian.Uint32(body), binary.LittleEndian.Uint32(body[4:]); n != 1 || int(size) != len(want) {
				t.Fatal(n, size)
			}
			got = append(got, body[8:]...)
			continue
		case kind == kindMessage && string(body) == "small":
			if len(got) == len(want) {
				t.Fatal("it came behind all pieces")
			}
			small = true
			continue
		case kind != kindMessage || !small || len(body) != 16+5:
			t.Fatal(kind, small, len(body))
		}
		break
	}
	if binary.LittleEndian.Uint64(body) != uint64(len(want)) || binary.LittleEndian.Uint64(body[8:]) != 1<<32 || !bytes.Equal(got, want) {
		t.Fatalf("% x, %d bytes", body[:16], len(got))
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// When the context ends on the way, the buffer is dropped, and the Channel goes on.
func TestPiecesDropped(t *testing.T) {
	ch, peer := bare(t)
	ctx, cancel := context.WithCancel(t.Context())
	small, err := ch.NewBuffer(t.Context(), pieceSize+1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := ch.NewBuffer(t.Context(), 5*pieceSize)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() { sent <- ch.SendBuffers(ctx, []msg.Buffer{small, b}, []byte("large")) }()
	for range 3 { // two of the first, one of the second
		if kind, _, _ := frame(t, peer); kind != kindPiece {
			t.Fatal(kind)
		}
	}
	cancel()
	dropped := map[uint32]bool{}
	for len(dropped) < 2 {
		switch kind, _, body := frame(t, peer); kind {
		case kindPiece: // it was under way
		case kindDrop:
			dropped[binary.LittleEndian.Uint32(body)] = true
		default:
			t.Fatal(kind)
		}
	}
	if err := <-sent; !errors.Is(err, context.Canceled) || !dropped[1] || !dropped[2] || b.Valid() || small.Valid() {
		t.Fatal(err, dropped)
	}
	go ch.Send(msg.Message{Data: []byte("on")})
	if kind, _, body := frame(t, peer); kind != kindMessage || string(body) != "on" {
		t.Fatal(kind, body)
	}
}

// Buffers of all sizes, sent by several at once over a connection that shares nothing, come whole and beside their own message.
func TestPiecesStorm(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(nil, nil)
		greet(t, a, b)
		sizes := []int{0, 1, pieceSize - 1, pieceSize, pieceSize + 1, 3 * pieceSize, 4<<20 + 1}
		const senders = 4
		errs := make(chan error, senders)
		for s := range senders {
			go func() {
				for i, n := range sizes {
					one, err := a.NewBuffer(t.Context(), n)
					other, err2 := a.NewBuffer(t.Context(), sizes[len(sizes)-1-i])
					copy(one.Bytes(), pattern(s+i, n))
					copy(other.Bytes(), pattern(s+i+1, other.Len()))
					err = errors.Join(err, err2, a.Send(msg.Message{Data: []byte{byte(s), byte(i)}, Buffers: []msg.Buffer{one, other}}))
					if err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		for range senders * len(sizes) {
			m, err := b.Recv()
			if err != nil {
				t.Fatal(err)
			}
			s, i := int(m.Data[0]), int(m.Data[1])
			for k, n := range []int{sizes[i], sizes[len(sizes)-1-i]} {
				if !bytes.Equal(bytesOf(m.Buffers[k]), pattern(s+i+k, n)) {
					t.Fatalf("buffer %d of message %d of sender %d has other bytes", k, i, s)
				}
				m.Buffers[k].Release()
			}
		}
		for range senders {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
	})
}
