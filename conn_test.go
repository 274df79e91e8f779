package standpipe_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/pipetest"
)

func TestConnSocket(t *testing.T) {
	pipetest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
		a, b = pipetest.Pair(t, nil, nil)
		return a, b, func() { a.Close(); b.Close() }, nil
	}, connDiffers...)
}

func TestConnPipe(t *testing.T) {
	pipetest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
		x, y, err := standpipe.Pipe()
		if err != nil {
			return nil, nil, nil, err
		}
		return x, y, func() { x.Close(); y.Close() }, nil
	}, connDiffers...)
}

// All errors of a Conn are of one shape, and say where.
func TestConnErrors(t *testing.T) {
	server, client := pipetest.Pair(t, nil, nil)
	client.SetReadDeadline(time.Unix(1, 0))
	_, deadline := client.Read(make([]byte, 1))
	server.Close()
	_, closed := server.Read(make([]byte, 1))
	var gone error
	for gone == nil {
		_, gone = client.Write(make([]byte, 1<<10))
	}
	for _, c := range []struct{ err, is error }{
		{deadline, os.ErrDeadlineExceeded}, {closed, net.ErrClosed}, {gone, syscall.EPIPE},
	} {
		var op *net.OpError
		if !errors.As(c.err, &op) || !errors.Is(c.err, c.is) || op.Addr == nil || op.Net != server.LocalAddr().Network() {
			t.Errorf("%#v is no *net.OpError about %v", c.err, c.is)
			continue
		}
		if strings.Count(op.Err.Error(), server.LocalAddr().String()) > 0 || !strings.Contains(c.err.Error(), server.LocalAddr().String()) {
			t.Errorf("%q does not name the endpoint once", c.err)
		}
	}
}

func TestIdentity(t *testing.T) {
	server, client := pipetest.Pair(t, nil, nil)
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	for _, c := range []*standpipe.Conn{server, client, a, b} {
		id := c.Identity()
		if id.PID != os.Getpid() || !(standpipe.Policy{}).Admits(id) {
			t.Errorf("the peer is %v; this is pid %d", id, os.Getpid())
		}
		for i := range id.Groups {
			id.Groups[i] = "changed"
		}
		for _, g := range c.Identity().Groups {
			if g == "changed" {
				t.Error("Identity hands out its own memory")
			}
		}
	}
}

// TestProgram: the peer's program is this one, in another process; and nobody's when that has gone.
func TestProgram(t *testing.T) {
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer := spawn(t, nil, "hold", name)
	c, err := ln.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if line := peer.line(t); line != "connected" {
		t.Fatal(line)
	}
	if c.Identity().PID != peer.Process.Pid {
		t.Errorf("the peer is %v, and its process %d", c.Identity(), peer.Process.Pid)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Program()
	if errors.Is(err, errors.ErrUnsupported) && !programWorks {
		t.Skip(err)
	}
	if err != nil || !strings.EqualFold(filepath.Base(got), filepath.Base(exe)) {
		t.Errorf("the program is %q, %v; want %q", got, err, exe)
	}
	peer.kill()
	if got, err := c.Program(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a process that is gone: %q, %v", got, err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read from a client that was killed: %v", err)
	}
}

// TestMessages: boundaries are kept, and nothing is cut.
func TestMessages(t *testing.T) {
	server, client := messagePair(t)
	server.SetDeadline(time.Now().Add(20 * time.Second))
	client.SetDeadline(time.Now().Add(20 * time.Second))
	for _, way := range []struct{ from, to *standpipe.Conn }{{server, client}, {client, server}} {
		for _, sizes := range [][]int{{1}, {1, 2, 3}, {1000, 1, 60000}, {4096, 4097, 4095}} {
			for _, n := range sizes {
				if k, err := way.from.Write(bytes.Repeat([]byte{byte(n)}, n)); k != n || err != nil {
					t.Fatal(k, err)
				}
			}
			for _, n := range sizes {
				b := make([]byte, 64<<10)
				k, err := way.to.Read(b)
				if k != n || err != nil || !bytes.Equal(b[:k], bytes.Repeat([]byte{byte(n)}, n)) {
					t.Fatalf("a message of %d bytes came as %d, %v", n, k, err)
				}
			}
		}
	}
	if n, err := client.Write(nil); n != 0 || err != nil {
		t.Errorf("Write of nothing: %d, %v", n, err)
	}
	if n, err := client.Read(nil); n != 0 || err != nil {
		t.Errorf("Read of nothing: %d, %v", n, err)
	}
	if _, err := client.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	client.Close()
	b := make([]byte, 10)
	if n, err := server.Read(b); string(b[:n]) != "last" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
	for range 2 {
		if n, err := server.Read(b); n != 0 || err != io.EOF {
			t.Errorf("after Close: %d, %v", n, err)
		}
	}
}

// TestMessageParts: a message longer than the reader's memory comes in parts, each but the last with io.ErrShortBuffer, at
// every size around the limits.
func TestMessageParts(t *testing.T) {
	server, client := messagePair(t)
	server.SetDeadline(time.Now().Add(20 * time.Second))
	client.SetDeadline(time.Now().Add(20 * time.Second))
	for _, room := range []int{1, 7, 4096, 65536} {
		for _, size := range []int{room - 1, room, room + 1, 2 * room, 2*room + 1} {
			if size < 1 || size > 140000 {
				continue
			}
			sent := make([]byte, size)
			for i := range sent {
				sent[i] = byte(i * 7)
			}
			written := make(chan error, 1)
			go func() { // a pipe's buffer may be too small for both
				_, err := server.Write(sent)
				if err == nil {
					_, err = server.Write([]byte("next"))
				}
				written <- err
			}()
			var got []byte
			for parts := 1; ; parts++ {
				b := make([]byte, room)
				n, err := client.Read(b)
				got = append(got, b[:n]...)
				last := len(got) >= size
				if n == 0 || last && err != nil || !last && !errors.Is(err, io.ErrShortBuffer) {
					t.Fatalf("%d bytes by %d: part %d is %d, %v", size, room, parts, n, err)
				}
				if last {
					break
				}
			}
			if !bytes.Equal(got, sent) {
				t.Fatalf("%d bytes by %d: other bytes came", size, room)
			}
			b := make([]byte, 65536)
			if n, err := client.Read(b); string(b[:n]) != "next" || err != nil {
				t.Fatalf("%d bytes by %d: behind it came %d bytes, %v", size, room, n, err)
			}
			if err := <-written; err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
		}
	}
}

// messagePair is a connection that keeps messages, where there is such a thing.
func messagePair(t *testing.T) (server, client *standpipe.Conn) {
	t.Helper()
	if !messagesWork {
		_, err := standpipe.Listen(pipetest.Name(t), &standpipe.ListenConfig{Messages: true})
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Fatalf("Messages are not for this system, but Listen says %v", err)
		}
		t.Skip(err)
	}
	return pipetest.Pair(t, &standpipe.ListenConfig{Messages: true}, &standpipe.DialConfig{Messages: true})
}

// The pieces arrive as one stream; what a deadline leaves unwritten is what b still holds, on Unix exactly.
func TestWriteBuffers(t *testing.T) {
	server, client := pipetest.Pair(t, nil, nil)
	var want []byte
	var b net.Buffers
	for i, n := range []int{5, 0, 70000, 1, 300000} {
		piece := bytes.Repeat([]byte{byte('a' + i)}, n)
		want, b = append(want, piece...), append(b, piece)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if n, err := client.WriteBuffers(&b); n != int64(len(want)) || err != nil || len(b) != 0 {
			t.Errorf("%d bytes, %d pieces left, %v", n, len(b), err)
		}
		client.Close()
	}()
	got, err := io.ReadAll(server)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d of %d bytes came, %v", len(got), len(want), err)
	}
	<-done // b is its own until then
	b = net.Buffers{[]byte("x")}
	if _, err := client.WriteBuffers(&b); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
}

// On a connection that keeps messages, each piece is one.
func TestWriteBuffersMessages(t *testing.T) {
	server, client := messagePair(t)
	b := net.Buffers{[]byte("one"), nil, []byte("two")}
	if n, err := client.WriteBuffers(&b); n != 6 || err != nil {
		t.Fatal(n, err)
	}
	for _, want := range []string{"one", "two"} {
		buf := make([]byte, 10)
		if n, err := server.Read(buf); string(buf[:n]) != want || err != nil {
			t.Fatalf("%q, %v", buf[:n], err)
		}
	}
}
