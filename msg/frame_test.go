package msg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A hello that is not complete in time ends the connection, and says so.
func TestHelloTime(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	go func() {
		go io.Copy(io.Discard, b)
		b.Write([]byte("standpipe 1\n"))
	}()
	var r reader
	r.init(lineOf(a), limits{}, nil)
	if _, ok := r.greet(time.Now().Add(20 * time.Millisecond)); ok {
		t.Fatal("half a hello was taken")
	}
	var pe *ProtocolError
	if !errors.As(r.err, &pe) || !strings.Contains(pe.Text, "no whole hello") {
		t.Fatal(r.err)
	}
}

func TestHelloNamesBothVersions(t *testing.T) {
	_, err := parseHello([]byte("standpipe 7\n\n"))
	if err == nil || !strings.Contains(err.Error(), "version 7") || !strings.Contains(err.Error(), "version 1") {
		t.Fatal(err)
	}
}

func TestHelloRoundTrip(t *testing.T) {
	h := hello{maxMessage: 1 << 20, maxBuffers: 77, share: "memfd", ring: true, keys: map[string]string{"codecs": "a b", "x": ""}}
	b := h.append(nil)
	n, err := helloEnd(append(b, "more"...))
	if err != nil || n != len(b) {
		t.Fatal(n, err)
	}
	got, err := parseHello(b)
	if err != nil || got.maxMessage != h.maxMessage || got.maxBuffers != h.maxBuffers || got.share != "memfd" || !got.ring || len(got.keys) != 2 || got.keys["codecs"] != "a b" {
		t.Fatal(got, err)
	}
	for i := range b { // any beginning of it wants more
		if n, err := helloEnd(b[:i]); n != 0 || err != nil {
			t.Fatal(i, n, err)
		}
	}
}

// The most memory that a header can make the reader take is what the limits say.
func FuzzHeader(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 1, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1, 0, 64, 0})
	f.Add([]byte{16, 0, 0, 0, 2, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerSize {
			return
		}
		lim := limits{message: 1 << 16, buffers: 1 << 20, shared: b[5] == 0 && len(b)%2 == 0}
		h, err := parseHeader(b, lim)
		if err != nil {
			return
		}
		if h.kind == kindMessage && h.buffers > maxBuffers || uint64(h.length) > uint64(lim.message)+uint64(lim.buffers)+maxBuffers*refSize {
			t.Fatalf("%+v was accepted", h)
		}
		if h.kind != kindMessage || h.buffers == 0 || len(b) < headerSize+h.buffers*refSize {
			return
		}
		data, sizes, err := parseRefs(b[headerSize:headerSize+h.buffers*refSize], h, lim)
		if err != nil {
			return
		}
		sum := data + h.buffers*refSize
		for _, r := range sizes {
			if r.size < 0 || r.segment != 0 && !lim.shared {
				t.Fatal("a negative size, or a segment", r)
			}
			if r.segment == 0 {
				sum += r.size
			}
		}
		if sum != int(h.length) || data > int(lim.message) {
			t.Fatalf("%+v: data %d, sizes %v", h, data, sizes)
		}
	})
}

// A whole session of whatever bytes: messages, or an error, and an end.
func FuzzSession(f *testing.F) {
	good := hello{maxMessage: 1 << 16, maxBuffers: 1 << 16}.append(nil)
	f.Add([]byte{})
	f.Add(good)
	f.Add(append(append([]byte{}, good...), 1, 0, 0, 0, 1, 0, 0, 0, 'x'))
	f.Add(append(append([]byte{}, good...), 19, 0, 0, 0, 1, 0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'x', 'y', 'z'))
	f.Add(append(append([]byte{}, good...), 2, 0, 0, 0, 2, 0, 0, 0, 'x', 'y'))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reader
		r.init(lineOf(&script{Reader: bytes.NewReader(b)}), limits{message: 1 << 16, buffers: 1 << 16}, nil)
		if _, ok := r.greet(time.Now().Add(time.Minute)); !ok {
			if r.err == nil {
				t.Fatal("no hello, and no error")
			}
			return
		}
		for total := 0; ; {
			var m Message
			if r.message(&m); r.err != nil {
				return
			}
			total += len(m.Data) + headerSize
			for _, buf := range m.Buffers {
				total += buf.Len()
			}
			if total > len(b) {
				t.Fatal("more came out than went in")
			}
		}
	})
}

func lineOf(c net.Conn) *sharing { return &sharing{line: line{c: c}} }

// script is a connection from which b is read.
type script struct {
	io.Reader
	net.Conn
}

func (s *script) Read(b []byte) (int, error)        { return s.Reader.Read(b) }
func (s *script) SetReadDeadline(t time.Time) error { return nil }

// Bytes that come one by one are the same messages as bytes that come at once.
func TestDribble(t *testing.T) {
	b := hello{maxMessage: 1 << 16, maxBuffers: 1 << 16}.append(nil)
	for _, n := range []int{0, 1, 5000, 70} {
		b = appendHeader(b, header{uint32(n), kindMessage, 0})
		b = append(b, bytes.Repeat([]byte{byte(n)}, n)...)
	}
	b = binary.LittleEndian.AppendUint32(b, 3)
	b = append(b, 200, 0, 0, 0, 'x', 'x', 'x')
	for _, step := range []int{1, 2, 3, 7, 100, 4096} {
		var r reader
		r.init(lineOf(&script{Reader: &dribble{b, step}}), limits{message: 1 << 16, buffers: 1 << 16}, nil)
		if _, ok := r.greet(time.Time{}); !ok {
			t.Fatal(r.err)
		}
		for _, n := range []int{0, 1, 5000, 70} {
			var m Message
			if r.message(&m); r.err != nil || !bytes.Equal(m.Data, bytes.Repeat([]byte{byte(n)}, n)) {
				t.Fatal(step, n, len(m.Data), r.err)
			}
		}
		var m Message
		if r.message(&m); r.err != io.EOF {
			t.Fatal(step, r.err)
		}
	}
}

type dribble struct {
	b    []byte
	step int
}

func (d *dribble) Read(p []byte) (int, error) {
	if len(d.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, d.b[:min(d.step, len(d.b))])
	d.b = d.b[n:]
	return n, nil
}
