package msg_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/internal/mem"
	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/pipetest"
	"github.com/standpipe/standpipe/rpc"
)

// sessions are the vectors of sessions that say that they are for a system like this one. Those of values are for package rpc.
func sessions(t testing.TB) (list []msg.Vector) {
	t.Helper()
	for _, v := range msg.Vectors(t, "session") {
		kinds := strings.Fields(v.Head["share"])
		for _, k := range kinds {
			if k != "memfd" && k != "shm" && k != "section" {
				t.Fatalf("%s is for %q", v.Name, k)
			}
		}
		if v.Head["needs"] == "" && (len(kinds) == 0 || slices.Contains(kinds, mem.Kind)) {
			list = append(list, v)
		}
	}
	if want := map[string]int{"memfd": 153, "shm": 147, "section": 41, "": 10}[mem.Kind]; len(list) != want {
		t.Fatalf("%d vectors are for this system, and not %d", len(list), want)
	}
	return list
}

// Every session of spec/vectors/memory, against a Channel that sends back what it receives. spec/memory.md says what the fates are.
func TestMemoryVectors(t *testing.T) {
	for _, v := range sessions(t) {
		t.Run(v.Name, func(t *testing.T) {
			a, b, err := standpipe.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			l := &echoer{ch: msg.New(b, nil), done: make(chan error, 1)}
			defer l.ch.Close()
			go l.run()
			d := newDialer(t, a, v)
			defer d.close()
			d.fate()
			if expect := v.Head["expect"]; expect == "dies" || expect == "ends" {
				l.check(t, d)
			}
		})
	}
}

// echoer is a listener without calls.
type echoer struct {
	ch       *msg.Channel
	received int
	done     chan error
}

func (l *echoer) run() {
	var held []msg.Buffer
	for {
		m, err := l.ch.Recv()
		if err != nil {
			for _, b := range held {
				b.Release()
			}
			l.done <- err
			return
		}
		l.received++
		if bytes.Contains(m.Data, []byte("hang")) {
			held = append(held, m.Buffers...)
			continue
		}
		l.ch.Send(m) // where that fails, Recv tells why
	}
}

// check looks how the connection has ended.
func (l *echoer) check(t *testing.T, d *dialer) {
	var err error
	select {
	case err = <-l.done:
	case <-time.After(patience):
		t.Fatal("the connection lives")
	}
	var pe *msg.ProtocolError
	broken := errors.As(err, &pe) && !pe.Remote
	if d.v.Head["expect"] == "ends" {
		if n := d.v.Head["received"]; err != io.EOF || fmt.Sprint(l.received) != n {
			t.Fatalf("it has received %d messages and ended by %v", l.received, err)
		}
		return
	}
	if !broken && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("the connection ended by %v", err)
	}
	if e := d.received("abort"); d.v.Head["then"] == "" && (e == nil || string(e.data) != pe.Text) {
		t.Errorf("the abort frame is %v, and not %q", e, pe.Text)
	}
}

// fate plays the vector, and looks what the listener does.
func (d *dialer) fate() {
	d.t.Helper()
	err := d.play()
	if d.v.Head["then"] == "close" {
		d.c.Close()
	}
	stream := uint64(1)
	if d.v.Head["stream"] != "" {
		stream = d.v.Number(d.t, "stream")
	}
	switch expect, sizes, _ := strings.Cut(d.v.Head["expect"], " "); expect {
	case "dies", "ends":
		d.await(func(event) bool { return false }) // it ends
		if aborted := d.received("abort") != nil; d.v.Head["then"] == "" && aborted != (expect == "dies") {
			d.t.Fatalf("%v came", d.seen)
		}
		return
	case "answers":
		if err != nil {
			d.t.Fatal(err, d.seen)
		}
		d.answer(uint32(stream), strings.Fields(sizes))
	case "lives":
		if err != nil {
			d.t.Fatal(err, d.seen)
		}
	default:
		d.t.Fatalf("it expects %q", expect)
	}
	// And the connection is as good as before.
	d.send([]byte{13, 0, 0, 0, 1, 0, 0, 0, 0xff, 0x0f, 0, 0, 1, 1, 0, 4, 'c', 'o', 'p', 'y', 0x80})
	d.answer(4095, nil)
}

// answer waits for the answer of a stream, which has buffers of these sizes.
func (d *dialer) answer(stream uint32, sizes []string) {
	d.t.Helper()
	var got event
	is := func(e event) bool {
		got = e
		return e.what == "message" && len(e.data) >= 8 && binary.LittleEndian.Uint32(e.data) == stream
	}
	if !d.await(is) {
		d.t.Fatalf("no answer came, but %v", d.seen)
	}
	if got.data[4] == 3 && (got.data[6] != 0 || got.data[7] != 0) {
		d.t.Fatalf("the answer is %q", got.data)
	}
	var have []string
	for _, b := range got.buffers {
		if have = append(have, fmt.Sprint(len(b))); !bytes.Equal(b, filler(len(b))) {
			d.t.Errorf("a buffer of %d bytes has others", len(b))
		}
	}
	if !slices.Equal(have, sizes) {
		d.t.Errorf("the answer has buffers of %v bytes, and not %v", have, sizes)
	}
}

type copied struct {
	A msg.Buffer `json:"a"`
	B msg.Buffer `json:"b"`
}

// The same against a server, as other languages run them.
func TestMemoryVectorsOfServer(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: slog.New(slog.DiscardHandler)})
	rpc.Handle(s, "copy", func(_ context.Context, in copied) (copied, error) { return in, nil })
	rpc.Handle(s, "hang", func(ctx context.Context, in copied) (copied, error) {
		<-ctx.Done()
		return copied{}, ctx.Err()
	})
	ln, err := standpipe.Listen(pipetest.Name(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	for _, v := range sessions(t) {
		t.Run(v.Name, func(t *testing.T) {
			c, err := standpipe.Dial(t.Context(), ln.Addr().String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			d := newDialer(t, c, v)
			defer d.close()
			d.fate()
		})
	}
}
