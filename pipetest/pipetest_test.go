package pipetest

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"

	"github.com/standpipe/standpipe"
)

func TestMain(m *testing.M) { Main(m) }

func tcp() (net.Listener, dialFunc, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	return ln, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}, nil
}

// What is not ours is held against the same promises: the suites know a promise that is kept from one that is not.

func TestTCP(t *testing.T) {
	TestConn(t, func() (a, b net.Conn, stop func(), err error) {
		ln, dial, err := tcp()
		if err != nil {
			return nil, nil, nil, err
		}
		defer ln.Close()
		a, b, err = connect(t.Context(), ln, dial)
		return a, b, func() { a.Close(); b.Close() }, err
	}, tcpConnDiffers...)
	t.Run("Listener", func(t *testing.T) { TestListener(t, tcp, tcpListenerDiffers...) })
}

// net.Pipe has no buffer: a Write waits for its reader. And it has errors of its own.
func TestNetPipe(t *testing.T) {
	TestConn(t, func() (a, b net.Conn, stop func(), err error) {
		a, b = net.Pipe()
		return a, b, func() { a.Close(); b.Close() }, nil
	}, "CloseKeepsData", "CloseTwice", "CloseEndsRead", "CloseEndsWrite", "PeerEndsWrite", "WriteToGone", "NoBytes", "PastDeadline", "CloseWrite")
}

func TestPair(t *testing.T) {
	server, client := Pair(t, nil, nil)
	if err := passes(waitFor(false), server, client); err != nil {
		t.Error(err)
	}
	if err := passes(waitFor(false), client, server); err != nil {
		t.Error(err)
	}
	if server.Identity().PID != os.Getpid() || client.Identity().PID != os.Getpid() {
		t.Errorf("the ends are %v and %v; this is pid %d", server.Identity(), client.Identity(), os.Getpid())
	}
}

// A dial that fails may return a nil *Conn, which is no nil net.Conn.
func TestConnectFails(t *testing.T) {
	ln, err := standpipe.Listen(Name(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = connect(t.Context(), ln, func(ctx context.Context) (net.Conn, error) {
		return standpipe.Dial(ctx, Name(t), nil)
	})
	if !errors.Is(err, standpipe.ErrNoServer) || !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// Main must see what it is there to see.
func TestCensus(t *testing.T) {
	before := takeCensus()
	sees := func(what string) {
		t.Helper()
		if len(takeCensus().since(before)) == 0 {
			t.Errorf("%s is not seen", what)
		}
	}
	quit := make(chan struct{})
	go func() { <-quit }()
	sees("a goroutine")
	close(quit)
	if left := whatIsLeft(before); len(left) > 0 {
		t.Fatalf("left: %q", left)
	}

	f, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	sees("an open file")
	f.Close()

	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	sees("a connection")
	a.Close()
	b.Close()
	if left := whatIsLeft(before); len(left) > 0 {
		t.Fatalf("left: %q", left)
	}

	ln, err := standpipe.Listen(Name(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(endpoints()) == 0 {
		t.Error("an endpoint is not seen")
	}
	ln.Close()
	if left := endpoints(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	unmap := mapShared(t)
	sees("a mapping")
	unmap()
	if left := whatIsLeft(before); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
