package main

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/standpipe/standpipe/rpc"
)

// replayServer answers "n" with how often it was asked, and has a stream that answers each value, and one that calls back.
func replayServer(asked *atomic.Int64) *rpc.Server {
	s := rpc.NewServer(nil)
	rpc.Handle(s, "n", func(context.Context, any) (int64, error) { return asked.Add(1), nil })
	rpc.Handle(s, "fail", func(_ context.Context, code int) (any, error) {
		return nil, rpc.Errorf(rpc.Code(code+int(asked.Load())), "it fails")
	})
	rpc.Handle(s, "twice", func(ctx context.Context, in string) (string, error) {
		_, err := rpc.Call[string](ctx, rpc.PeerFrom(ctx), "back", in)
		return rpc.CodeOf(err).String(), nil
	})
	rpc.HandleStream(s, "each", func(_ context.Context, st *rpc.Stream[[]byte, []byte]) error {
		for v, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send(v); err != nil {
				return err
			}
		}
		return nil
	})
	return s
}

// What is replayed waits for the server as the client did: streams above their credit, calls back, answers before the next call.
func TestReplay(t *testing.T) {
	var asked atomic.Int64
	_, file := traceHere(t, replayServer(&asked), func(p *rpc.Peer) {
		ctx := t.Context()
		if got, err := rpc.Call[string](ctx, p, "twice", "x"); got != "Unimplemented" || err != nil {
			t.Error(got, err)
		}
		rpc.Call[any](ctx, p, "fail", 3)
		if n, err := rpc.Call[int64](ctx, p, "n", 0); n != 1 || err != nil {
			t.Error(n, err)
		}
		st, err := rpc.Open[[]byte, []byte](ctx, p, "each")
		if err != nil {
			t.Fatal(err)
		}
		for range 20 { // 600 KiB: ten windows
			if err := st.Send(make([]byte, 30<<10)); err != nil {
				t.Fatal(err)
			}
			if v, err := st.Recv(); len(v) != 30<<10 || err != nil {
				t.Fatal(len(v), err)
			}
		}
		st.CloseSend()
		if _, err := st.Recv(); err == nil {
			t.Error("no end")
		}
		st.Close()
	})
	for _, speed := range []string{"0", "1", "10"} {
		asked.Store(0)
		same := serveHere(t, replayServer(&asked))
		code, out, errs := runHere(t, "", "replay", "--check", "--speed", speed, file, same)
		if code != 0 || !strings.Contains(out, "4 of 4 calls went as they did") {
			t.Errorf("speed %s: code %d: %s%s", speed, code, out, errs)
		}
	}
	asked.Store(1)
	code, out, errs := runHere(t, "", "replay", "--check", "--speed", "0", file, serveHere(t, replayServer(&asked)))
	if code != exitFailed || !strings.Contains(out, "2 of 4 calls") || !strings.Contains(out, "n: another value came (OK)") ||
		!strings.Contains(out, `fail: InvalidArgument "it fails" then, DeadlineExceeded "it fails" now`) {
		t.Errorf("another server: code %d: %s%s", code, out, errs)
	}
	code, out, errs = runHere(t, "", "replay", "--check", "--speed", "0", "--patience", "50ms", file, serveHere(t, rpc.NewServer(nil)))
	if code != exitFailed || !strings.Contains(out, `twice: OK then, Unimplemented`) {
		t.Errorf("a server without methods: code %d: %s%s", code, out, errs)
	}
}

// A server that says nothing is not waited for for ever, nor is one that ends.
func TestReplaySilence(t *testing.T) {
	var asked atomic.Int64
	_, file := traceHere(t, replayServer(&asked), func(p *rpc.Peer) {
		rpc.Call[int64](t.Context(), p, "n", 0)
		rpc.Call[int64](t.Context(), p, "n", 0)
	})
	ln, target := listenHere(t, "name")
	go func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if n > 0 {
				c.Close()
			}
		}
	}()
	for range 2 {
		code, out, errs := runHere(t, "", "replay", "--check", "--speed", "0", "--patience", "20ms", file, target)
		if code != exitFailed || !strings.Contains(out, "0 of 2 calls went as they did") {
			t.Errorf("code %d: %s%s", code, out, errs)
		}
	}
}

// An interrupt ends a replay.
func TestReplayInterrupt(t *testing.T) {
	var asked atomic.Int64
	_, file := traceHere(t, replayServer(&asked), func(p *rpc.Peer) { rpc.Call[int64](t.Context(), p, "n", 0) })
	ln, target := listenHere(t, "name")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ln.Accept()
		cancel()
	}()
	var out, errs strings.Builder
	if code := run(ctx, []string{"replay", "--patience", "1h", file, target}, strings.NewReader(""), &out, &errs); code != exitInterrupted {
		t.Error(code, out.String(), errs.String())
	}
}
