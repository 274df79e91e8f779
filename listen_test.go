package standpipe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/pipetest"
)

func TestListener(t *testing.T) {
	pipetest.TestListener(t, func() (net.Listener, func(context.Context) (net.Conn, error), error) {
		name := pipetest.Name(t)
		ln, err := standpipe.Listen(name, nil)
		return ln, func(ctx context.Context) (net.Conn, error) { return standpipe.Dial(ctx, name, nil) }, err
	}, listenerDiffers...)
}

// TestListenRounds: Listen, Accept and Close on one name, with dials at any moment in between.
func TestListenRounds(t *testing.T) {
	const rounds = 2000
	name := pipetest.Name(t)
	ctx := soon(t)
	quit := make(chan struct{})
	var dialers sync.WaitGroup
	var reached atomic.Int64
	for range 2 {
		dialers.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
				}
				c, err := standpipe.Dial(ctx, name, nil)
				if err != nil {
					if !errors.Is(err, standpipe.ErrNoServer) {
						t.Error(err)
					}
					continue
				}
				reached.Add(1)
				c.SetReadDeadline(time.Now().Add(20 * time.Second))
				if _, err := c.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("Read: %v, want the end", err)
				}
				c.Close()
			}
		})
	}
	for i := range rounds {
		ln, err := standpipe.Listen(name, nil)
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		var accepting sync.WaitGroup
		accepting.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					if !errors.Is(err, net.ErrClosed) {
						t.Errorf("Accept: %v", err)
					}
					return
				}
				c.Close()
			}
		})
		if i%2 == 0 {
			c, err := standpipe.Dial(ctx, name, nil)
			if err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
			c.Close()
		}
		if err := ln.Close(); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		accepting.Wait()
	}
	close(quit)
	dialers.Wait()
	if reached.Load() == 0 {
		t.Error("none of the dials in between has reached a server")
	}
}

// TestThousandClients: all at once, all served.
func TestThousandClients(t *testing.T) {
	const clients = 1000
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer serve(ln)()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	start := make(chan struct{})
	errs := make(chan error, clients)
	for i := range clients {
		go func() {
			<-start
			errs <- ask(ctx, name, fmt.Sprint("client ", i))
		}()
	}
	close(start)
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// serve echoes, each word as it comes. What it returns closes the listener and waits for all to end.
func serve(ln net.Listener) (stop func()) {
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				io.Copy(c, c)
			})
		}
	})
	return func() {
		ln.Close()
		all.Wait()
	}
}

// ask dials, and has one word echoed.
func ask(ctx context.Context, name, word string) error {
	c, err := standpipe.Dial(ctx, name, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	return echoed(c, word)
}

// TestMaxConns: ten at once; the others wait, and are served in turn.
func TestMaxConns(t *testing.T) {
	const most, clients = 10, 100
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, &standpipe.ListenConfig{MaxConns: most})
	if err != nil {
		t.Fatal(err)
	}
	var open, peak atomic.Int64
	stop := serve(counting{ln, &open, &peak})
	defer stop()
	errs := make(chan error, clients)
	for i := range clients {
		go func() { errs <- ask(soon(t), name, fmt.Sprint("client ", i)) }()
	}
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if peak.Load() > most || peak.Load() < 2 {
		t.Errorf("%d connections were open at once; MaxConns is %d", peak.Load(), most)
	}
}

// counting counts what is open of a listener's connections.
type counting struct {
	net.Listener
	open, peak *atomic.Int64
}

type counted struct {
	net.Conn
	open *atomic.Int64
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	now := l.open.Add(1)
	for p := l.peak.Load(); now > p && !l.peak.CompareAndSwap(p, now); p = l.peak.Load() {
	}
	return counted{c, l.open}, nil
}

func (c counted) Close() error {
	c.open.Add(-1) // before, or the next is counted while this one is
	return c.Conn.Close()
}

// TestMaxConnsClose: Close ends an Accept that waits for a place, and places come back however often a Conn is closed.
func TestMaxConnsClose(t *testing.T) {
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, &standpipe.ListenConfig{MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	client, err := standpipe.Dial(soon(t), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	accept := func() {
		c, err := ln.Accept()
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		done <- err
	}
	go accept()
	server.Close()
	server.Close()
	second, err := standpipe.Dial(soon(t), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	go accept()
	select {
	case err := <-done:
		t.Fatalf("Accept above MaxConns: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
}

// TestHTTP: net/http takes our listener, and can shut down.
func TestHTTP(t *testing.T) {
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return standpipe.Dial(ctx, name, nil) },
	}}
	for i := range 20 {
		var all sync.WaitGroup
		for range i {
			all.Go(func() {
				resp, err := client.Post("http://local/", "text/plain", slowly("a question"))
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "a question" {
					t.Errorf("%q, %v", b, err)
				}
			})
		}
		all.Wait()
	}
	// Its keep-alive connections are idle, but open.
	if err := server.Shutdown(soon(t)); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Errorf("Serve: %v", err)
	}
	client.CloseIdleConnections()
	if _, err := standpipe.Dial(soon(t), name, nil); !errors.Is(err, standpipe.ErrNoServer) {
		t.Errorf("after Shutdown: %v", err)
	}
}

// slowly is a body without a known length, so that it is sent in chunks.
func slowly(text string) io.Reader {
	r, w := io.Pipe()
	go func() {
		for _, c := range []byte(text) {
			w.Write([]byte{c})
		}
		w.Close()
	}()
	return r
}

func TestListenInUse(t *testing.T) {
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err := standpipe.Listen(name, nil)
		if verdict(err) != "in-use" {
			t.Errorf("the second Listen: %v", err)
		}
	}
	stop := serve(ln)
	if err := ask(soon(t), name, "still there"); err != nil {
		t.Errorf("the first server, after the others: %v", err)
	}
	stop()
	again, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	again.Close()
}

// TestListenTurns: of several who want the same name, again and again, one has it at a time, and no dial goes astray.
func TestListenTurns(t *testing.T) {
	const contenders, turns = 4, 50
	name := pipetest.Name(t)
	ctx := soon(t)
	var holders atomic.Int64
	var all sync.WaitGroup
	for range contenders {
		all.Go(func() {
			for won := 0; won < turns && ctx.Err() == nil; {
				ln, err := standpipe.Listen(name, nil)
				if err != nil {
					if verdict(err) != "in-use" {
						t.Error(err)
						return
					}
					continue
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d serve at once", n)
				}
				won++
				stop := serve(ln)
				if err := ask(ctx, name, "mine"); err != nil {
					t.Errorf("dialling what was just listened on: %v", err)
				}
				holders.Add(-1)
				stop()
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		t.Error("not everybody got a turn")
	}
}

func TestListenConfig(t *testing.T) {
	for _, cfg := range []standpipe.ListenConfig{
		{Backlog: -1}, {MaxConns: -1}, {Buffer: -1}, {Buffer: 1<<30 + 1},
		{Policy: standpipe.User("no such user here")}, {Policy: standpipe.Group("no such group here")},
	} {
		ln, err := standpipe.Listen(pipetest.Name(t), &cfg)
		if err == nil {
			ln.Close()
			t.Errorf("%+v is taken", cfg)
		}
	}
	// This user's own name can't be opened to others, and says so.
	_, err := standpipe.Listen(pipetest.Name(t), &standpipe.ListenConfig{Policy: standpipe.Anyone()})
	if verdict(err) != "bad-name" {
		t.Errorf("a personal name for anyone: %v", err)
	}
	ln, err := standpipe.Listen(pipetest.Name(t), &standpipe.ListenConfig{Buffer: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
}

// TestKilledServer: its clients see the end at once, and its name is free at once.
func TestKilledServer(t *testing.T) {
	name := pipetest.Name(t)
	for range 5 {
		server := spawn(t, nil, "serve", name)
		if line := server.line(t); line != "ready" {
			t.Fatal(line)
		}
		var clients []*standpipe.Conn
		for range 3 {
			c, err := standpipe.Dial(soon(t), name, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := echoed(c, "alive"); err != nil {
				t.Fatal(err)
			}
			if c.Identity().PID != server.Process.Pid {
				t.Errorf("the server is %v; its process is %d", c.Identity(), server.Process.Pid)
			}
			clients = append(clients, c)
		}
		server.kill()
		for _, c := range clients {
			c.SetReadDeadline(time.Now().Add(time.Second))
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("a second after kill -9: %d, %v", n, err)
			}
		}
		if _, err := standpipe.Dial(soon(t), name, nil); !slices.Contains([]string{"stale", "no-server"}, verdict(err)) {
			t.Errorf("Dial of a dead server: %v", err)
		}
	}
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatalf("the name of a server that was killed: %v", err)
	}
	defer serve(ln)()
	if err := ask(soon(t), name, "new"); err != nil {
		t.Error(err)
	}
}
