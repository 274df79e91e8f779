package standpipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// echo serves l until it is closed, and then says how many connections were open at most.
func echo(l *Listener) (most func() int64) {
	var wg sync.WaitGroup
	var open, peak atomic.Int64
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			now := open.Add(1)
			for p := peak.Load(); now > p && !peak.CompareAndSwap(p, now); p = peak.Load() {
			}
			wg.Go(func() {
				io.Copy(c, c)
				open.Add(-1)
				c.Close()
			})
		}
	})
	return func() int64 { wg.Wait(); return peak.Load() }
}

// say writes text to c and wants it back.
func say(c net.Conn, text string) error {
	if _, err := c.Write([]byte(text)); err != nil {
		return err
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		return fmt.Errorf("said %q, heard %q: %v", text, b, err)
	}
	return nil
}

// within fails where fn takes longer than a hang may look like.
func within(t *testing.T, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		buf := make([]byte, 1<<20)
		t.Fatalf("%s hangs\n%s", what, buf[:runtime.Stack(buf, true)])
	}
}

// TestFirstInstance: the second server of a name fails, whatever it does, and so does a first that finds the name squatted.
func TestFirstInstance(t *testing.T) {
	l := freshListener(t, nil)
	if _, err := Listen(l.Addr().String(), &ListenConfig{Messages: true, Buffer: 100}); !errors.Is(err, ErrInUse) {
		t.Fatalf("a second server: %v", err)
	}
	name := freshName()
	squatter := rawServer(t, name, windows.PIPE_TYPE_BYTE, "")
	if _, err := Listen(name, nil); !errors.Is(err, ErrInUse) {
		t.Fatalf("a squatted name: %v", err)
	}
	windows.CloseHandle(squatter)
	l, err := Listen(name, nil)
	if err != nil {
		t.Fatalf("after the squatter has gone: %v", err)
	}
	l.Close()
}

// rawServer makes a pipe instance as any program could.
func rawServer(t *testing.T, path string, mode uint32, sddl string) windows.Handle {
	t.Helper()
	var sa *windows.SecurityAttributes
	if sddl != "" {
		sd, err := windows.SecurityDescriptorFromString(sddl)
		if err != nil {
			t.Fatal(err)
		}
		sa = &windows.SecurityAttributes{SecurityDescriptor: sd}
		sa.Length = uint32(unsafe.Sizeof(*sa))
	}
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		t.Fatal(err)
	}
	h, err := windows.CreateNamedPipe(p, windows.PIPE_ACCESS_DUPLEX, mode, windows.PIPE_UNLIMITED_INSTANCES, 4096, 4096, 0, sa)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestPipeKind(t *testing.T) {
	for _, messages := range []bool{false, true} {
		if kind, _ := (&instance{messages: messages}).kind(); kind&windows.FILE_PIPE_REJECT_REMOTE_CLIENTS == 0 {
			t.Errorf("messages %v: clients from the network are let in", messages)
		}
	}
}

func TestStorm(t *testing.T) {
	const clients = 1000
	for _, backlog := range []int{1, 4, 16} {
		t.Run(fmt.Sprintf("backlog %d", backlog), func(t *testing.T) {
			l := freshListener(t, &ListenConfig{Backlog: backlog})
			echo(l)
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			var all, up sync.WaitGroup
			hold := make(chan struct{})
			up.Add(clients)
			for i := range clients {
				all.Go(func() {
					c, err := Dial(ctx, l.Addr().String(), nil)
					if err == nil {
						defer c.Close()
						err = say(c, fmt.Sprintf("client %d", i))
					}
					if err != nil {
						t.Error(err)
					}
					up.Done()
					<-hold // all are open at once
				})
			}
			up.Wait()
			close(hold)
			all.Wait()
		})
	}
}

func TestMaxConns(t *testing.T) {
	const limit, clients = 10, 100
	l := freshListener(t, &ListenConfig{MaxConns: limit})
	most := echo(l)
	ctx := soon(t)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			c, err := Dial(ctx, l.Addr().String(), nil)
			if err == nil {
				err = say(c, fmt.Sprintf("client %d", i))
				c.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	l.Close()
	if n := most(); n > limit || n < 2 {
		t.Fatalf("%d connections were open at once; the limit is %d", n, limit)
	}
}

// TestUnaccepted: without Accept only so many clients get a connection; the rest wait, until their contexts end.
func TestUnaccepted(t *testing.T) {
	const backlog = 3
	l := freshListener(t, &ListenConfig{Backlog: backlog})
	n := 0
	for ; n <= 2*backlog; n++ {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		c, err := Dial(ctx, l.Addr().String(), nil)
		cancel()
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNoServer) {
				t.Fatal(err)
			}
			break
		}
		defer c.Close()
	}
	if n < backlog || n > 2*backlog {
		t.Fatalf("%d clients are connected and not accepted; backlog is %d", n, backlog)
	}
	within(t, "accepting those who wait", func() {
		for range n {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		}
	})
}

func TestComeAndGo(t *testing.T) {
	for _, backlog := range []int{1, 4} {
		l := freshListener(t, &ListenConfig{Backlog: backlog})
		echo(l)
		ctx := soon(t)
		for i := range 500 {
			c, err := Dial(ctx, l.Addr().String(), nil)
			if err != nil {
				t.Fatalf("backlog %d, dial %d: %v", backlog, i, err)
			}
			c.Close()
		}
		c, err := Dial(ctx, l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := say(c, "still there"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWroteAndWent: a client that writes and goes before the server looks at its instance is not lost; one that only goes
// leaves the instance to the next.
func TestWroteAndWent(t *testing.T) {
	for _, text := range []string{"", "last words"} {
		sd, err := windows.SecurityDescriptorFromString((&guard{users: []string{currentUser()}}).sddl(currentUser()))
		if err != nil {
			t.Fatal(err)
		}
		in := &instance{path: freshName(), sd: sd, buffer: 4096, max: 1}
		server, err := in.make(true)
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		client, err := openPipe(in.path, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		client.Close()
		err = server.await(func() {})
		if text == "" {
			if err != errGone {
				t.Fatalf("await of a client that has gone: %v", err)
			}
			text = "second"
			posted, met := make(chan struct{}), make(chan error, 1)
			go func() { met <- server.await(sync.OnceFunc(func() { close(posted) })) }()
			<-posted
			client, err = openPipe(in.path, false) // there is one instance only
			if err != nil {
				t.Fatal(err)
			}
			client.Write([]byte(text))
			client.Close()
			err = <-met
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(server)
		if string(got) != text || err != nil {
			t.Fatalf("read %q, %v, want %q", got, err, text)
		}
	}
}

// TestRounds: nothing is left of 2,000 listeners and their connections.
func TestRounds(t *testing.T) {
	round := func() {
		l, err := Listen(freshName(), &ListenConfig{Backlog: 2})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := Dial(context.Background(), l.Addr().String(), nil)
			if err == nil {
				c.Close()
			}
		}()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		<-done
	}
	for range 20 { // what the runtime and the system keep
		round()
	}
	goroutines, handles := runtime.NumGoroutine(), openHandles(t)
	for range 2000 {
		round()
	}
	if g, h := runtime.NumGoroutine(), openHandles(t); g > goroutines || h > handles {
		t.Fatalf("goroutines %d -> %d, handles %d -> %d", goroutines, g, handles, h)
	}
}

// TestRoundsUnaccepted: nor of clients that were recognized and never accepted.
func TestRoundsUnaccepted(t *testing.T) {
	round := func() {
		l, err := Listen(freshName(), &ListenConfig{Backlog: 2})
		if err != nil {
			t.Fatal(err)
		}
		c, err := Dial(context.Background(), l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		a := <-l.l.ready // it is recognized, and offered
		l.Close()
		if a.end.idErr != nil {
			t.Fatal(a.end.idErr)
		}
		c.Close()
	}
	round()
	handles := openHandles(t)
	for range 50 {
		round()
	}
	if h := openHandles(t); h > handles {
		t.Fatalf("handles %d -> %d", handles, h)
	}
}

// TestCloseStates: Close returns in every state, ends whoever waits, and the name is free.
func TestCloseStates(t *testing.T) {
	states := map[string]func(t *testing.T, l *Listener){
		"new": func(*testing.T, *Listener) {},
		"accepting": func(t *testing.T, l *Listener) {
			go func() {
				if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
			}()
		},
		"not accepted": func(t *testing.T, l *Listener) {
			c, err := Dial(soon(t), l.Addr().String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if n, err := c.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("a client that was not accepted reads %d, %v", n, err)
				}
				c.Close()
			})
		},
		"full": func(t *testing.T, l *Listener) {
			for range 3 {
				c, err := Dial(soon(t), l.Addr().String(), nil)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
			}
		},
		"client gone": func(t *testing.T, l *Listener) {
			c, err := Dial(soon(t), l.Addr().String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		},
		"under fire": func(t *testing.T, l *Listener) {
			for range 10 {
				go func() {
					for {
						ctx, cancel := context.WithTimeout(context.Background(), time.Second)
						c, err := Dial(ctx, l.Addr().String(), nil)
						cancel()
						if err != nil {
							return
						}
						c.Close()
					}
				}()
			}
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		},
		"at MaxConns": func(t *testing.T, l *Listener) {
			l.slots = make(chan struct{}, 1)
			l.slots <- struct{}{}
			go func() {
				if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
			}()
		},
	}
	for name, set := range states {
		t.Run(name, func(t *testing.T) {
			l := freshListener(t, &ListenConfig{Backlog: 2})
			set(t, l)
			within(t, "Close", func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Error("Accept after Close:", err)
			}
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				t.Error("second Close:", err)
			}
			if _, err := Dial(soon(t), l.Addr().String(), nil); !errors.Is(err, ErrNoServer) {
				t.Error("Dial after Close:", err)
			}
			again, err := Listen(l.Addr().String(), nil)
			if err != nil {
				t.Fatal("the name is not free:", err)
			}
			again.Close()
		})
	}
}

// TestKilledPeer: a client and a server that are killed.
func TestKilledPeer(t *testing.T) {
	wantEOF := func(c net.Conn) {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := c.Read(make([]byte, 10)); n != 0 || err != io.EOF {
			t.Fatalf("after the kill: %d, %v", n, err)
		}
	}
	l := freshListener(t, nil)
	cmd := startChild(t, "hold", l.Addr().String())
	c, err := l.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if c.Identity().PID != cmd.Process.Pid {
		t.Errorf("the client is %v, its process %d", c.Identity(), cmd.Process.Pid)
	}
	cmd.Process.Kill()
	wantEOF(c)

	name := freshName()
	cmd = startChild(t, "serve", name)
	c, err = Dial(soon(t), name, &DialConfig{Wait: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if c.Identity().PID != cmd.Process.Pid {
		t.Errorf("the server is %v, its process %d", c.Identity(), cmd.Process.Pid)
	}
	cmd.Process.Kill()
	wantEOF(c)
	l, err = Listen(name, nil)
	if err != nil {
		t.Fatalf("the name of a killed server: %v", err)
	}
	l.Close()
}

func TestDialWaits(t *testing.T) {
	name := freshName()
	got := make(chan error, 1)
	go func() {
		c, err := Dial(soon(t), name, &DialConfig{Wait: true})
		if err == nil {
			c.Close()
		}
		got <- err
	}()
	if _, err := Dial(soon(t), name, nil); !errors.Is(err, ErrNoServer) {
		t.Fatal(err)
	}
	l, err := Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Dial(ended, name, nil); !errors.Is(err, context.Canceled) {
		t.Fatal("dial with a context that has ended:", err)
	}
}

func TestHTTP(t *testing.T) {
	l := freshListener(t, nil)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello "+r.URL.Path) })}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return Dial(ctx, l.Addr().String(), nil)
	}}
	client := &http.Client{Transport: tr}
	for range 3 { // one after the other: then there is one connection, and it is idle
		res, err := client.Get("http://pipe/x")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(b) != "hello /x" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Fatal("Shutdown:", err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Fatal(err)
	}
	tr.CloseIdleConnections()
}

// TestForbidden: Windows has one code for a name that is taken and for one that may not be had.
func TestForbidden(t *testing.T) {
	addr, err := parseAddr(freshName())
	if err != nil {
		t.Fatal(err)
	}
	if err := listenError(addr, windows.STATUS_ACCESS_DENIED); !errors.Is(err, ErrDenied) || errors.Is(err, ErrInUse) {
		t.Error("a name that nobody has:", err)
	}
	l, err := Listen(addr.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := listenError(addr, windows.STATUS_ACCESS_DENIED); !errors.Is(err, ErrInUse) || errors.Is(err, ErrDenied) {
		t.Error("a name that is taken:", err)
	}
}

// TestNoSuccessor: where no further instance can be made, Accept says so, again and again; the client who has come stays,
// and Close does not hang.
func TestNoSuccessor(t *testing.T) {
	var l *Listener
	ready := make(chan struct{})
	l = asked(t, ListenConfig{Backlog: 1}, senses{func(e *endpoint, h windows.Handle) (windows.Token, error) {
		<-ready
		l.l.instance.path = freshName() // of which there is none
		return e.clientToken(h)
	}, muteLimit})
	close(ready)
	c, err := Dial(soon(t), l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	within(t, "Accept", func() {
		for range 3 {
			if _, err := l.Accept(); !errors.Is(err, windows.STATUS_OBJECT_NAME_NOT_FOUND) {
				t.Error(err)
			}
		}
	})
	if _, err := c.Write([]byte("x")); err != nil {
		t.Error("the client is lost:", err)
	}
	within(t, "Close", func() { l.Close() })
}
