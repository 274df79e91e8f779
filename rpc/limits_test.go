package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/rpc"
)

// A value of a stream that the other side does not take fails its Send, in either direction, and the stream goes on.
func TestStreamValueTooLarge(t *testing.T) {
	const limit = 64 << 10
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, MaxMessage: limit})
	there := make(chan error, 10)
	rpc.HandleStream(s, "echo", func(_ context.Context, st *rpc.Stream[[]byte, []byte]) error {
		for b, err := range st.All() {
			if err != nil {
				return err
			}
			there <- st.Send(make([]byte, limit+1))
			if err := st.Send(b); err != nil {
				return err
			}
		}
		return nil
	})
	serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(&rpc.DialConfig{MaxMessage: limit})
		st, err := rpc.Open[[]byte, []byte](bounded(t), p, "echo")
		if err != nil {
			t.Fatal(err)
		}
		tooLarge := func(err error) bool {
			return rpc.CodeOf(err) == rpc.ResourceExhausted && errors.Is(err, msg.ErrTooLarge)
		}
		for i := range 3 {
			for _, n := range []int{limit, limit + 1, 1 << 20} { // with what is around a value, the limit is too much
				if err := st.Send(make([]byte, n)); !tooLarge(err) {
					t.Fatalf("Send of %d bytes: %v", n, err)
				}
			}
			want := bytes.Repeat([]byte{byte(i)}, limit-100)
			if err := st.Send(want); err != nil {
				t.Fatal(err)
			}
			if b, err := st.Recv(); err != nil || !bytes.Equal(b, want) {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
			if err := <-there; !tooLarge(err) {
				t.Errorf("the handler's Send: %v", err)
			}
		}
		if err := st.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Recv(); err != io.EOF {
			t.Error(err)
		}
	})
}

// Streams are calls: as many as MaxCalls run at once, and the next one waits, as long as its context lets it.
func TestMaxCallsOfStreams(t *testing.T) {
	const most = 1000
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, MaxCalls: most})
	rpc.HandleStream(s, "echo", func(_ context.Context, st *rpc.Stream[int, int]) error {
		for n, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send(n); err != nil {
				return err
			}
		}
		return nil
	})
	rpc.Handle(s, "call", func(_ context.Context, n int) (int, error) { return n, nil })
	p := startServing(t, s).dial(t, nil)
	var streams []*rpc.Stream[int, int]
	for range most {
		st, err := rpc.Open[int, int](bounded(t), p, "echo")
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, st)
	}
	use := func(i int, st *rpc.Stream[int, int]) {
		t.Helper()
		if err := st.Send(i); err != nil {
			t.Fatal(err)
		}
		if n, err := st.Recv(); n != i || err != nil {
			t.Fatalf("stream %d: %d, %v", i, n, err)
		}
	}
	for i, st := range streams {
		use(i, st)
	}
	full := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if _, err := rpc.Open[int, int](ctx, p, "echo"); rpc.CodeOf(err) != rpc.DeadlineExceeded {
			t.Errorf("one stream more: %v", err)
		}
		if _, err := rpc.Call[int](ctx, p, "call", 1); rpc.CodeOf(err) != rpc.DeadlineExceeded {
			t.Errorf("one call more: %v", err)
		}
	}
	full()
	cancelled, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() { _, err := rpc.Open[int, int](cancelled, p, "echo"); failed <- err }()
	cancel()
	if err := <-failed; rpc.CodeOf(err) != rpc.Canceled {
		t.Errorf("one that was cancelled: %v", err)
	}
	// Each way in which a stream ends makes room for one more; the others go on.
	for i, end := range []func(st *rpc.Stream[int, int]){
		func(st *rpc.Stream[int, int]) { st.Close() },
		func(st *rpc.Stream[int, int]) {
			st.CloseSend()
			if _, err := st.Recv(); err != io.EOF {
				t.Error(err)
			}
		},
	} {
		opened := make(chan *rpc.Stream[int, int], 1)
		go func() {
			st, err := rpc.Open[int, int](bounded(t), p, "echo")
			if err != nil {
				t.Error(err)
			}
			opened <- st
		}()
		end(streams[i])
		streams[i] = <-opened
		if streams[i] == nil {
			t.FailNow()
		}
		use(i, streams[i])
		full()
	}
	for i, st := range streams {
		use(i, st)
		st.Close()
	}
	if n, err := rpc.Call[int](bounded(t), p, "call", 5); n != 5 || err != nil {
		t.Errorf("in the end: %d, %v", n, err)
	}
}

// Arguments above MaxQueued fail their calls, and no others; what is done makes room.
func TestMaxQueuedCalls(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, MaxQueued: 256 << 10})
	running, release := make(chan struct{}), make(chan struct{})
	rpc.Handle(s, "hold", func(_ context.Context, b []byte) (int, error) {
		running <- struct{}{}
		<-release
		return len(b), nil
	})
	rpc.Handle(s, "len", func(_ context.Context, b []byte) (int, error) { return len(b), nil })
	serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p, other := dial(nil), dial(nil)
		try := func(p *rpc.Peer, n int, code rpc.Code) {
			t.Helper()
			if got, err := rpc.Call[int](bounded(t), p, "len", make([]byte, n)); rpc.CodeOf(err) != code || err == nil && got != n {
				t.Errorf("%d bytes: %d, %v", n, got, err)
			}
		}
		for range 3 {
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					if n, err := rpc.Call[int](bounded(t), p, "hold", make([]byte, 100<<10)); n != 100<<10 || err != nil {
						t.Errorf("one that is held: %d, %v", n, err)
					}
				})
			}
			<-running
			<-running
			try(p, 100<<10, rpc.ResourceExhausted)
			try(p, 60<<10, rpc.ResourceExhausted)
			try(p, 10, rpc.OK)
			try(p, 50<<10, rpc.OK)
			try(other, 200<<10, rpc.OK) // each peer has its own
			release <- struct{}{}
			release <- struct{}{}
			wg.Wait()
			try(p, 200<<10, rpc.OK)
		}
		try(p, 300<<10, rpc.ResourceExhausted) // alone
		try(p, 10, rpc.OK)
	})
}

// Values that wait in streams count together, at either end: the stream that is above the limit fails, and the others go on.
func TestMaxQueuedStreams(t *testing.T) {
	const value = 30 << 10
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, MaxQueued: 80 << 10})
	turn := make(chan struct{})
	rpc.HandleStream(s, "sink", func(ctx context.Context, st *rpc.Stream[[]byte, int]) error {
		select {
		case <-turn:
		case <-ctx.Done():
		}
		for b, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send(len(b)); err != nil {
				return err
			}
		}
		return nil
	})
	rpc.HandleStream(s, "source", func(_ context.Context, st *rpc.Stream[int, []byte]) error {
		for n, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send(make([]byte, n)); err != nil {
				return err
			}
		}
		return nil
	})
	rpc.Handle(s, "nothing", func(context.Context, int) (int, error) { return 0, nil })
	sv := startServing(t, s)
	sync := func(p *rpc.Peer) { // what was sent before has come
		t.Helper()
		if _, err := rpc.Call[int](bounded(t), p, "nothing", 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("server", func(t *testing.T) {
		p := sv.dial(t, nil)
		var sinks []*rpc.Stream[int, []byte]
		for i := range 3 { // 60 KiB wait when the third one comes
			st, err := rpc.Open[int, []byte](bounded(t), p, "sink")
			if err != nil {
				t.Fatal(err)
			}
			sinks = append(sinks, st)
			if err := st.Send(make([]byte, value)); err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
		}
		if _, err := sinks[2].Recv(); rpc.CodeOf(err) != rpc.ResourceExhausted {
			t.Errorf("the stream that is above: %v", err)
		}
		turn <- struct{}{}
		turn <- struct{}{}
		for _, st := range sinks[:2] {
			for range 3 {
				if n, err := st.Recv(); n != value || err != nil {
					t.Fatalf("one of those before: %d, %v", n, err)
				}
				if err := st.Send(make([]byte, value)); err != nil {
					t.Fatal(err)
				}
			}
			st.Close()
		}
		sync(p)
	})
	t.Run("opener", func(t *testing.T) {
		p := sv.dial(t, &rpc.DialConfig{MaxQueued: 80 << 10})
		var sources []*rpc.Stream[[]byte, int]
		for range 3 {
			st, err := rpc.Open[[]byte, int](bounded(t), p, "source")
			if err != nil {
				t.Fatal(err)
			}
			sources = append(sources, st)
		}
		for i, st := range sources {
			if err := st.Send(value); err != nil {
				t.Fatal(err)
			}
			if _, err := st.Header(); i < 2 && err != nil { // the value has come
				t.Fatal(err)
			}
		}
		if _, err := sources[2].Recv(); rpc.CodeOf(err) != rpc.ResourceExhausted {
			t.Errorf("the stream that is above: %v", err)
		}
		for _, st := range sources[:2] {
			for range 3 {
				if b, err := st.Recv(); len(b) != value || err != nil {
					t.Fatalf("one of those before: %d, %v", len(b), err)
				}
				if err := st.Send(value); err != nil {
					t.Fatal(err)
				}
			}
			if err := st.CloseSend(); err != nil {
				t.Fatal(err)
			}
			st.Close()
		}
		sync(p)
	})
	t.Run("room again", func(t *testing.T) { // streams that were closed or have failed leave nothing behind in the count
		p := sv.dial(t, &rpc.DialConfig{MaxQueued: 80 << 10})
		for range 10 {
			st, err := rpc.Open[[]byte, int](bounded(t), p, "source")
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := st.Send(value); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := st.Header(); err != nil {
				t.Fatal(err)
			}
			st.Close()
			sink, err := rpc.Open[int, []byte](bounded(t), p, "sink")
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := sink.Send(make([]byte, value)); err != nil {
					t.Fatal(err)
				}
			}
			sync(p)
			sink.Close()
			until(t, "the sink's end", func() bool {
				_, err := sink.Recv()
				return err != nil
			})
			sync(p)
		}
	})
}

func TestBadMaxQueued(t *testing.T) {
	for _, n := range []int64{-1, 1, 64<<10 - 1} {
		if _, err := rpc.Dial(bounded(t), freshName(), &rpc.DialConfig{MaxQueued: n}); err == nil || rpc.CodeOf(err) == rpc.Unavailable {
			t.Errorf("Dial with MaxQueued %d: %v", n, err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("NewServer took MaxQueued %d", n)
				}
			}()
			rpc.NewServer(&rpc.ServerConfig{MaxQueued: n})
		}()
	}
}

// A stream above MaxQueued fails with ResourceExhausted also where its handler does not receive, and returns its context's error.
func TestMaxQueuedOfIdleHandler(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, MaxQueued: 64 << 10})
	rpc.HandleStream(s, "idle", func(ctx context.Context, _ *rpc.Stream[[]byte, int]) error {
		<-ctx.Done()
		return ctx.Err()
	})
	p := startServing(t, s).dial(t, nil)
	st, err := rpc.Open[int, []byte](bounded(t), p, "idle")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for range 2 { // the window lets one pass that is above it
		if err := st.Send(make([]byte, 40<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := st.Recv(); rpc.CodeOf(err) != rpc.ResourceExhausted {
		t.Errorf("the stream ended with %v", err)
	}
}
