package rpc_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

// A handler that has always been quick runs in the goroutine that reads. When it then waits for something that has yet to
// be read, reading must go on.
func TestQuickHandlerWaits(t *testing.T) {
	var wait atomic.Bool
	release := make(chan struct{}, 1)
	s := rpc.NewServer(nil)
	rpc.Handle(s, "gate", func(ctx context.Context, n int) (int, error) {
		if wait.Load() {
			select {
			case <-release:
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		return n, nil
	})
	rpc.Handle(s, "release", func(context.Context, int) (int, error) { release <- struct{}{}; return 0, nil })
	rpc.Handle(s, "back", func(ctx context.Context, n int) (int, error) {
		if !wait.Load() {
			return n, nil
		}
		return rpc.Call[int](ctx, rpc.PeerFrom(ctx), "inner", n)
	})
	serve(t, s, func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		back := rpc.NewServer(nil)
		rpc.Handle(back, "inner", func(_ context.Context, n int) (int, error) { return n + 1, nil })
		p := dial(&rpc.DialConfig{Server: back})
		warm := func(method string) {
			wait.Store(false)
			for i := range 100 {
				if n, err := rpc.Call[int](bounded(t), p, method, i); err != nil || n != i {
					t.Fatal(n, err)
				}
			}
			wait.Store(true)
		}
		for range 20 {
			warm("gate")
			done := make(chan error, 1)
			go func() { _, err := rpc.Call[int](bounded(t), p, "gate", 1); done <- err }()
			if _, err := rpc.Call[int](bounded(t), p, "release", 1); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			warm("back")
			start := time.Now()
			if n, err := rpc.Call[int](bounded(t), p, "back", 1); err != nil || n != 2 {
				t.Fatal(n, err)
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Fatalf("a callback took %v", d)
			}
			warm("gate")
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
			if _, err := rpc.Call[int](ctx, p, "gate", 1); rpc.CodeOf(err) != rpc.DeadlineExceeded {
				t.Fatal(err)
			}
			cancel()
		}
	})
}

// The peer goes while a quick handler runs in the reader.
func TestQuickHandlerLosesPeer(t *testing.T) {
	var wait atomic.Bool
	started, ended := make(chan struct{}, 1), make(chan error, 1)
	s := rpc.NewServer(nil)
	rpc.Handle(s, "gate", func(ctx context.Context, n int) (int, error) {
		if wait.Load() {
			started <- struct{}{}
			<-ctx.Done()
			ended <- ctx.Err()
		}
		return n, nil
	})
	serve(t, s, func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		for range 20 {
			wait.Store(false)
			p := dial(nil)
			for i := range 50 {
				if _, err := rpc.Call[int](bounded(t), p, "gate", i); err != nil {
					t.Fatal(err)
				}
			}
			wait.Store(true)
			failed := make(chan error, 1)
			go func() { _, err := rpc.Call[int](context.Background(), p, "gate", 1); failed <- err }()
			<-started
			p.Close()
			select {
			case err := <-ended:
				if err != context.Canceled {
					t.Fatal(err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the handler was not told")
			}
			if err := <-failed; rpc.CodeOf(err) != rpc.Unavailable {
				t.Fatal(err)
			}
		}
	})
}
