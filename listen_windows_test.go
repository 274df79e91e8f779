package standpipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// echo serves l until it is closed.
func echo(l *Listener) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
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

// TestForbidden: Windows has one code for a name that is taken and for one that may not be had.
func TestForbidden(t *testing.T) {
	addr, err := parseAddr(freshName())
	if err != nil {
		t.Fatal(err)
	}
	if err := listenError(addr, windows.STATUS_ACCESS_DENIED, false); !errors.Is(err, ErrDenied) || errors.Is(err, ErrInUse) {
		t.Error("a name that nobody has:", err)
	}
	l := freshListener(t, nil)
	in := &instance{path: l.Addr().String(), max: unlimited, buffer: 4096}
	if _, taken, err := in.add(true); !taken || err == nil {
		t.Error("a name that is taken:", taken, err)
	}
	l.Close()
	e, taken, err := in.add(true)
	if taken || err != nil {
		t.Fatal("a name that is free:", taken, err)
	}
	e.Close()
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
