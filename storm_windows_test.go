package standpipe

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

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
