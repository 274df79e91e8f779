package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

// What hostile peers and careless handlers may do. Each test failed before its mending.

const rawHello = "standpipe 1\nmax-message: 16777216\ncodecs: msgpack\nmax-calls: 1024\n\n"

// A peer that sends and does not read can't hold a caller beyond its context.
func TestTalkingPeerThatDoesNotRead(t *testing.T) {
	ln, err := standpipe.Listen(freshName(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, rawHello)
		late := []byte{8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 1, 0} // a cancel of nothing
		for {
			if _, err := c.Write(late); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	p, err := rpc.Dial(bounded(t), ln.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	done := make(chan error, 1)
	go func() {
		for range 60 {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
			_, err := rpc.Call[int](ctx, p, "m", make([]byte, 16<<10))
			cancel()
			if rpc.CodeOf(err) != rpc.DeadlineExceeded {
				done <- err
				return
			}
		}
		done <- nil
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a call outlives its context")
	}
}

func TestCarelessHandlers(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "code", func(context.Context, int) (int, error) { return 0, rpc.Errorf(rpc.Code(404), "no such code") })
	rpc.Handle(s, "exit", func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil })
	rpc.Handle(s, "details", func(context.Context, int) (int, error) {
		e := rpc.Errorf(rpc.NotFound, "x")
		e.Details = []rpc.Detail{{Type: strings.Repeat("\xffa", 30000)}}
		return 0, e
	})
	rpc.Handle(s, "fine", func(context.Context, int) (int, error) { return 7, nil })
	serve(t, s, func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		p := dial(&rpc.DialConfig{MaxMessage: 64 << 10})
		for method, want := range map[string]rpc.Code{"code": rpc.Unknown, "exit": rpc.Internal, "details": rpc.NotFound, "fine": rpc.OK} {
			for range 5 {
				if _, err := rpc.Call[int](bounded(t), p, method, 1); rpc.CodeOf(err) != want {
					t.Errorf("%s: %v", method, err)
				}
			}
		}
	})
}

// When Serve ends, peers that do not read cost their time together, not one after the other; and all are told to stop at once.
func TestShutdownOfMany(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, Drain: -1})
	rpc.Handle(s, "large", func(context.Context, int) ([]byte, error) { return make([]byte, 1<<20), nil })
	ln, err := standpipe.Listen(freshName(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	const peers = 8
	for range peers {
		c, err := standpipe.Dial(bounded(t), ln.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, rawHello)
		c.Write([]byte{14, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 5, 'l', 'a', 'r', 'g', 'e', 1})
		if _, err := io.ReadFull(c, make([]byte, 400)); err != nil { // the answer is on its way
			t.Fatal(err)
		}
	}
	start := time.Now()
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > peers*time.Second/2 {
		t.Errorf("Serve took %v to end", d)
	}
}

func TestDrainTellsAllAtOnce(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	var running atomic.Int32
	finish := make(chan struct{})
	rpc.Handle(s, "slow", func(context.Context, int) (int, error) { running.Add(1); <-finish; return 0, nil })
	ln, err := standpipe.Listen(freshName(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	var peers []*rpc.Peer
	for range 6 {
		p, err := rpc.Dial(bounded(t), ln.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		peers = append(peers, p)
		go rpc.Call[int](context.Background(), p, "slow", 1)
	}
	for running.Load() < 6 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	for i, p := range peers {
		for start := time.Now(); ; {
			_, err := rpc.Call[int](bounded(t), p, "none", 1)
			if rpc.CodeOf(err) == rpc.Unavailable {
				break
			}
			if time.Since(start) > 5*time.Second {
				t.Fatalf("peer %d is not told: %v", i, err)
			}
		}
	}
	close(finish)
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

func TestBadLimits(t *testing.T) {
	for _, cfg := range []*rpc.DialConfig{{MaxMessage: 1000}, {MaxMessage: -1}, {MaxCalls: 5}} {
		if _, err := rpc.Dial(bounded(t), freshName(), cfg); err == nil || errors.Is(err, standpipe.ErrNoServer) {
			t.Errorf("Dial: %v", err)
		}
		a, b := net.Pipe()
		p := rpc.NewPeer(a, cfg)
		if _, err := rpc.Call[int](bounded(t), p, "m", bytes.Repeat([]byte{1}, 10)); rpc.CodeOf(err) != rpc.Unavailable || !strings.Contains(err.Error(), "must be from") {
			t.Errorf("NewPeer: %v", err)
		}
		b.Close()
	}
	defer func() {
		if recover() == nil {
			t.Error("NewServer took MaxMessage 1000")
		}
	}()
	rpc.NewServer(&rpc.ServerConfig{MaxMessage: 1000})
}
