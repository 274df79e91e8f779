package standpipe_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/pipetest"
)

func TestDialNobody(t *testing.T) {
	for _, name := range []string{pipetest.Name(t), "shared:" + pipetest.Name(t)} {
		_, err := standpipe.Dial(soon(t), name, nil)
		var op *net.OpError
		if verdict(err) != "no-server" || !errors.As(err, &op) || op.Op != "dial" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDialWait: the client is there first.
func TestDialWait(t *testing.T) {
	name := pipetest.Name(t)
	type result struct {
		c   *standpipe.Conn
		err error
	}
	dialled := make(chan result, 1)
	go func() {
		c, err := standpipe.Dial(soon(t), name, &standpipe.DialConfig{Wait: true})
		dialled <- result{c, err}
	}()
	select {
	case r := <-dialled:
		t.Fatalf("Dial did not wait: %v", r.err)
	case <-time.After(50 * time.Millisecond):
	}
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer serve(ln)()
	r := <-dialled
	if r.err != nil {
		t.Fatal(r.err)
	}
	defer r.c.Close()
	if err := echoed(r.c, "there"); err != nil {
		t.Error(err)
	}
}

// TestDialWaitKilled: Wait waits out a dead server's remains, too.
func TestDialWaitKilled(t *testing.T) {
	name := pipetest.Name(t)
	server := spawn(t, nil, "serve", name)
	if line := server.line(t); line != "ready" {
		t.Fatal(line)
	}
	server.kill()
	done := make(chan error, 1)
	go func() {
		c, err := standpipe.Dial(soon(t), name, &standpipe.DialConfig{Wait: true})
		if err == nil {
			err = echoed(c, "new")
			c.Close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("Dial did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer serve(ln)()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestDialContext: it bounds all of Dial, and is found in the error, with its cause.
func TestDialContext(t *testing.T) {
	name := pipetest.Name(t)
	cause := errors.New("the user has gone")
	canceled, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	for _, wait := range []bool{false, true} {
		_, err := standpipe.Dial(canceled, name, &standpipe.DialConfig{Wait: wait})
		if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
			t.Errorf("cancelled before (Wait: %v): %v", wait, err)
		}
	}
	short, cancelShort := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancelShort()
	_, err := standpipe.Dial(short, name, &standpipe.DialConfig{Wait: true})
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, standpipe.ErrNoServer) {
		t.Errorf("waiting for nobody: %v", err)
	}
}

// TestDialFull: a server whose queue is full and who does not accept is waited for, inside the context.
func TestDialFull(t *testing.T) {
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, &standpipe.ListenConfig{Backlog: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	results := make(chan error)
	const crowd = 6000 // more than somaxconn
	open := 0
	for range crowd {
		short, cancelShort := context.WithTimeout(ctx, 100*time.Millisecond)
		c, err := standpipe.Dial(short, name, nil)
		cancelShort()
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("client %d: %v", open, err)
			}
			break
		}
		open++
		defer c.Close()
	}
	if open == crowd {
		t.Fatal("the queue is never full")
	}
	go func() { results <- ask(soon(t), name, "late") }()
	select {
	case err := <-results:
		t.Fatalf("a full server: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	go func() { // now it serves
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(20 * time.Second))
				b := make([]byte, 4)
				if n, _ := c.Read(b); n > 0 {
					c.Write(b[:n])
				}
			}()
		}
	}()
	if err := <-results; err != nil {
		t.Error(err)
	}
	ln.Close()
}

// TestDialWrongServer: a server that the client's Policy does not admit gets not a byte, and the client knows why.
func TestDialWrongServer(t *testing.T) {
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan int, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			accepted <- -1
			return
		}
		defer c.Close()
		n, _ := c.Read(make([]byte, 10))
		accepted <- n
	}()
	_, err = standpipe.Dial(soon(t), name, &standpipe.DialConfig{Policy: standpipe.User(strangerID)})
	if verdict(err) != "wrong-server" || !errors.Is(err, standpipe.ErrDenied) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Dial: %v", err)
	}
	if n := <-accepted; n != 0 {
		t.Errorf("the server got %d bytes", n)
	}
}

func TestDialMessagesMismatch(t *testing.T) {
	if !messagesWork {
		t.Skip("TestMessages says why")
	}
	for _, server := range []bool{false, true} {
		name := pipetest.Name(t)
		ln, err := standpipe.Listen(name, &standpipe.ListenConfig{Messages: server})
		if err != nil {
			t.Fatal(err)
		}
		c, err := standpipe.Dial(soon(t), name, &standpipe.DialConfig{Messages: !server})
		if err == nil {
			c.Close()
		}
		if verdict(err) != "messages" && (mismatchSeen || err != nil) {
			t.Errorf("Messages: %v at the server, %v at the client: %v", server, !server, err)
		}
		ln.Close()
	}
}

func TestDialPolicyUnknown(t *testing.T) {
	if _, err := standpipe.Dial(soon(t), pipetest.Name(t), &standpipe.DialConfig{Policy: standpipe.User("no such user here")}); err == nil || verdict(err) != "error" {
		t.Errorf("a Policy with a name that nobody has: %v", err)
	}
}
