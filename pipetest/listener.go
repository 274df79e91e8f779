package pipetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// MakeListener makes a listener that nobody else knows, and the function that dials it.
type MakeListener func() (ln net.Listener, dial func(context.Context) (net.Conn, error), err error)

type dialFunc = func(context.Context) (net.Conn, error)

type listenerCase struct {
	name string
	run  func(ctx context.Context, w wait, ln net.Listener, dial dialFunc) error
}

var listenerCases = []listenerCase{
	{"CloseEndsAccept", closeEndsAccept},
	{"CloseTwice", closeListenerTwice},
	{"DialAfterClose", dialAfterClose},
	{"AcceptedStay", acceptedStay},
	{"UnacceptedEnd", unacceptedEnd},
	{"CloseAmidStorm", closeAmidStorm},
	{"ComeAndGo", comeAndGo},
	{"WroteAndWent", wroteAndWent},
	{"Crowd", crowd},
	{"CanceledDial", canceledDial},
}

// TestListener holds listeners against what those of this module promise: that Close ends what waits, in every state,
// that clients who come and go harm nobody, and that a crowd is served. As for TestConn, cases in which a transport
// differs knowingly are named, run, and must fail.
func TestListener(t *testing.T, mk MakeListener, differs ...string) {
	for _, name := range differs {
		if !slices.ContainsFunc(listenerCases, func(c listenerCase) bool { return c.name == name }) {
			t.Errorf("there is no case %q", name)
		}
	}
	for _, c := range listenerCases {
		t.Run(c.name, func(t *testing.T) {
			ln, dial, err := mk()
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			differs := slices.Contains(differs, c.name)
			done := after(func() error { return c.run(ctx, waitFor(differs), ln, dial) })
			select {
			case err = <-done:
			case <-ctx.Done():
				err = fmt.Errorf("it did not end within %v", patience)
			}
			judge(t, err, differs)
		})
	}
}

func closeEndsAccept(_ context.Context, w wait, ln net.Listener, _ dialFunc) error {
	var all []<-chan error
	for range 4 {
		all = append(all, after(func() error { _, err := ln.Accept(); return err }))
	}
	waiting()
	if err := ln.Close(); err != nil {
		return err
	}
	for _, done := range all {
		if err := want("Accept", w.await("Accept", done), net.ErrClosed); err != nil {
			return err
		}
	}
	return nil
}

func closeListenerTwice(_ context.Context, w wait, ln net.Listener, _ dialFunc) error {
	if err := ln.Close(); err != nil {
		return err
	}
	_, err := ln.Accept()
	return errors.Join(
		want("Accept after Close", err, net.ErrClosed),
		want("the second Close", ln.Close(), net.ErrClosed))
}

func dialAfterClose(ctx context.Context, w wait, ln net.Listener, dial dialFunc) error {
	ln.Close()
	c, err := dial(ctx)
	if err == nil {
		c.Close()
		return errors.New("a Dial succeeds after Close")
	}
	return nil
}

// acceptedStay: Close of the listener does not touch what was accepted.
func acceptedStay(ctx context.Context, w wait, ln net.Listener, dial dialFunc) error {
	client, server, err := connect(ctx, ln, dial)
	if err != nil {
		return err
	}
	defer client.Close()
	defer server.Close()
	if err := ln.Close(); err != nil {
		return err
	}
	return errors.Join(passes(w, client, server), passes(w, server, client))
}

// connect dials and accepts, in two goroutines, since not every Dial returns before Accept.
func connect(ctx context.Context, ln net.Listener, dial dialFunc) (client, server net.Conn, err error) {
	var acceptErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		server, acceptErr = ln.Accept()
	}()
	client, err = dial(ctx)
	if err != nil {
		ln.Close()
	}
	<-done
	switch { // beside an error the Conn may be a nil pointer, and yet not nil
	case err == nil && acceptErr == nil:
		return client, server, nil
	case err == nil:
		client.Close()
	case acceptErr == nil:
		server.Close()
	}
	return nil, nil, errors.Join(err, acceptErr)
}

// passes sends a word.
func passes(w wait, from, to net.Conn) error {
	from.SetDeadline(w.soon())
	to.SetDeadline(w.soon())
	if _, err := from.Write([]byte("word")); err != nil {
		return err
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(to, got); err != nil || string(got) != "word" {
		return fmt.Errorf("%q, %v", got, err)
	}
	return nil
}

// unacceptedEnd: clients that nobody has accepted see io.EOF when the listener is closed, and do not hang.
func unacceptedEnd(ctx context.Context, w wait, ln net.Listener, dial dialFunc) error {
	var clients []net.Conn
	for range 3 {
		c, err := dial(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		clients = append(clients, c)
	}
	if err := ln.Close(); err != nil {
		return err
	}
	for _, c := range clients {
		c.SetDeadline(w.soon())
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			return fmt.Errorf("an unaccepted client's Read: %v, want io.EOF", err)
		}
	}
	return nil
}

// closeAmidStorm: whether each client was quick enough or not, nothing hangs.
func closeAmidStorm(ctx context.Context, w wait, ln net.Listener, dial dialFunc) error {
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 5 {
				c, err := dial(ctx)
				if err != nil {
					continue
				}
				c.SetDeadline(w.soon())
				c.Read(make([]byte, 1))
				c.Close()
			}
		})
	}
	serving := after(func() error {
		for {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			c.Close()
		}
	})
	time.Sleep(5 * time.Millisecond)
	if err := ln.Close(); err != nil {
		return err
	}
	err := want("Accept", w.await("Accept", serving), net.ErrClosed)
	return errors.Join(err, w.await("the clients", after(func() error { all.Wait(); return nil })))
}

// comeAndGo: clients that hang up before they are accepted are not in the way of the next.
func comeAndGo(ctx context.Context, w wait, ln net.Listener, dial dialFunc) error {
	defer serveEcho(ln)()
	for range 50 {
		c, err := dial(ctx)
		if err != nil {
			return err
		}
		c.Close()
	}
	return echoes(ctx, w, dial)
}

// serveEcho sends back what comes, until the function that it returns is called.
func serveEcho(ln net.Listener) (stop func()) {
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

func echoes(ctx context.Context, w wait, dial dialFunc) error {
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return passes(w, c, c)
}

// wroteAndWent: what a client wrote before it hung up is still read, though it was never seen alive.
func wroteAndWent(ctx context.Context, w wait, ln net.Listener, dial dialFunc) error {
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	if _, err = c.Write([]byte("letter")); err == nil {
		err = c.Close()
	}
	if err != nil {
		return err
	}
	server, err := ln.Accept()
	if err != nil {
		return err
	}
	defer server.Close()
	server.SetDeadline(w.soon())
	got, err := io.ReadAll(server)
	if err != nil || string(got) != "letter" {
		return fmt.Errorf("%q, %v", got, err)
	}
	return nil
}

// crowd: a hundred clients at once are all served.
func crowd(ctx context.Context, w wait, ln net.Listener, dial dialFunc) error {
	defer serveEcho(ln)()
	var all []<-chan error
	for range 100 {
		all = append(all, after(func() error { return echoes(ctx, w, dial) }))
	}
	return joined(all)
}

func canceledDial(ctx context.Context, _ wait, _ net.Listener, dial dialFunc) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	c, err := dial(ctx)
	if err == nil {
		c.Close()
	}
	return want("Dial", err, context.Canceled)
}
