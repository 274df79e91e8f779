package rpc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/msg"
)

// pairOfBuffers is what the methods of the vectors take and return.
type pairOfBuffers struct {
	A msg.Buffer `json:"a"`
	B msg.Buffer `json:"b"`
}

type valueVector struct {
	name string
	head map[string]string
	body []byte
}

// valueVectors are those of spec/vectors/memory that need calls: references to buffers in values.
func valueVectors(t testing.TB) (list []valueVector) {
	t.Helper()
	files, err := filepath.Glob("../spec/vectors/memory/value-*.txt")
	if err != nil || len(files) != 33 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, f := range files {
		head, body := readVector(t, f)
		if head["needs"] != "calls" || head["what"] != "session" || head["files"] != "" {
			t.Fatalf("%s is none that is run here", f)
		}
		list = append(list, valueVector{strings.TrimSuffix(filepath.Base(f), ".txt"), head, body})
	}
	return list
}

// A place that a value has is a buffer of its message, or the call fails. spec/memory.md, 4.10.
func TestBufferVectors(t *testing.T) {
	for _, v := range valueVectors(t) {
		t.Run(v.name, func(t *testing.T) {
			a, b := net.Pipe()
			defer a.Close()
			a.SetDeadline(time.Now().Add(10 * time.Second))
			switch v.head["from"] {
			case "listener":
				v.result(t, a, b)
			case "":
				v.argument(t, a, b)
			default:
				t.Fatalf("it is from %q", v.head["from"])
			}
		})
	}
}

// send sends the hello, and more. Where that fails, nothing comes back.
func (v valueVector) send(c net.Conn, more []byte) {
	io.WriteString(c, "standpipe 1\n"+strings.ReplaceAll(v.head["hello"], " | ", "\n")+"\n\n"+string(more))
}

// argument plays the dialer.
func (v valueVector) argument(t *testing.T, a, b net.Conn) {
	s := NewServer(&ServerConfig{Log: slog.New(slog.DiscardHandler)})
	Handle(s, "copy", func(_ context.Context, in pairOfBuffers) (pairOfBuffers, error) { return in, nil })
	p := newPeer(b, s.options(), false)
	defer p.Close()
	go v.send(a, v.body)
	in := bufio.NewReader(a)
	data, buffers, err := readMessage(in)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parseFrame(data)
	if err != nil || f.typ != typeClose || fmt.Sprint(f.stream) != v.head["stream"] {
		t.Fatalf("%+v, %v", f, err)
	}
	v.check(t, f.code, buffers)
	// And the connection is as good as before.
	go a.Write([]byte{13, 0, 0, 0, 1, 0, 0, 0, 0xff, 0x0f, 0, 0, 1, 1, 0, 4, 'c', 'o', 'p', 'y', 0x80})
	if data, _, err = readMessage(in); err != nil || binary.LittleEndian.Uint32(data) != 4095 || data[6] != 0 {
		t.Fatalf("% x, %v", data, err)
	}
}

// result plays the listener.
func (v valueVector) result(t *testing.T, a, b net.Conn) {
	p := NewPeer(b, &DialConfig{Log: slog.New(slog.DiscardHandler)})
	defer p.Close()
	if v.head["waits"] != "0 message" {
		t.Fatalf("it waits for %q", v.head["waits"])
	}
	go func() {
		v.send(a, nil)
		in := bufio.NewReader(a)
		for range 2 { // and another one behind it
			data, _, err := readMessage(in)
			if err != nil {
				a.Close()
				return
			}
			answer := slices.Clone(v.body)
			copy(answer[bytes.Index(answer[8:], []byte{1, 0, 0, 0, 3, 1})+8:], data[:4])
			a.Write(answer)
		}
	}()
	for range 2 {
		out, err := Call[pairOfBuffers](t.Context(), p, "copy", pairOfBuffers{})
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatal(err)
		}
		var buffers [][]byte
		for _, b := range []msg.Buffer{out.A, out.B} {
			if b.Valid() {
				buffers = append(buffers, b.Bytes())
			}
		}
		v.check(t, CodeOf(err), buffers)
	}
}

func (v valueVector) check(t *testing.T, code Code, buffers [][]byte) {
	t.Helper()
	got := "answers"
	for _, b := range buffers {
		got += fmt.Sprint(" ", len(b))
		for i, c := range b {
			if int(c) != i%251 {
				t.Errorf("byte %d is %d", i, c)
			}
		}
	}
	if code != OK {
		got = "fails " + codeNames[code]
	}
	if got != v.head["expect"] {
		t.Errorf("it %s, and should: %s", got, v.head["expect"])
	}
}

// readMessage reads the next message, whose buffers are in it. The hello is skipped.
func readMessage(in *bufio.Reader) (data []byte, buffers [][]byte, err error) {
	var h [8]byte
	if _, err := io.ReadFull(in, h[:]); err != nil {
		return nil, nil, err
	}
	if string(h[:]) == "standpip" {
		for line := ""; line != "\n" && err == nil; {
			line, err = in.ReadString('\n')
		}
		if err == nil {
			_, err = io.ReadFull(in, h[:])
		}
		if err != nil {
			return nil, nil, err
		}
	}
	b := make([]byte, binary.LittleEndian.Uint32(h[:]))
	if _, err := io.ReadFull(in, b); err != nil || h[4] != 1 {
		return nil, nil, fmt.Errorf("a frame of kind %d with %q, %w", h[4], b, err)
	}
	refs, rest := b[:16*h[6]], b[16*h[6]:]
	inside := len(rest)
	for i := 0; i < len(refs); i += 16 {
		inside -= int(binary.LittleEndian.Uint64(refs[i:]))
	}
	data, rest = rest[:inside], rest[inside:]
	for ; len(refs) > 0; refs = refs[16:] {
		n := binary.LittleEndian.Uint64(refs)
		buffers, rest = append(buffers, rest[:n]), rest[n:]
	}
	return data, buffers, nil
}
