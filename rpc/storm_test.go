package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

// stormServer has a stream that echoes, and one that does whatever its opener's first value says.
func stormServer() *rpc.Server {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, MaxCalls: 20000})
	rpc.Handle(s, "echo", func(_ context.Context, v int) (int, error) { return v, nil })
	rpc.HandleStream(s, "echo.each", func(_ context.Context, st *rpc.Stream[int, int]) error {
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
	rpc.HandleStream(s, "whim", func(ctx context.Context, st *rpc.Stream[int, []byte]) error {
		seed, err := st.Recv()
		if err != nil {
			return err
		}
		rnd := rand.New(rand.NewPCG(uint64(seed), 2))
		for range rnd.IntN(8) {
			switch rnd.IntN(5) {
			case 0:
				if _, err := st.Recv(); err != nil && !errors.Is(err, io.EOF) {
					return err
				}
			case 1, 2:
				if err := st.Send(make([]byte, rnd.IntN(100000))); err != nil {
					return err
				}
			case 3:
				return rpc.Errorf(rpc.Aborted, "a whim")
			case 4:
				st.Close()
			}
		}
		return nil
	})
	return s
}

func streamSum(ctx context.Context, p *rpc.Peer, n int) error {
	st, err := rpc.Open[int, int](ctx, p, "echo.each")
	if err != nil {
		return err
	}
	defer st.Close()
	for i := range n {
		if err := st.Send(i); err != nil {
			return err
		}
		if v, err := st.Recv(); v != i || err != nil {
			return fmt.Errorf("%d came for %d, %w", v, i, err)
		}
	}
	if err := st.CloseSend(); err != nil {
		return err
	}
	if _, err := st.Recv(); err != io.EOF {
		return fmt.Errorf("at the end: %w", err)
	}
	return nil
}

// 10,000 streams are open at once, and one of them is never read: the others all go on.
func TestTenThousandStreams(t *testing.T) {
	const n = 10000
	serve(t, stormServer(), func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(&rpc.DialConfig{MaxCalls: 20000})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		stalled, err := rpc.Open[int, int](ctx, p, "echo.each")
		if err != nil {
			t.Fatal(err)
		}
		defer stalled.Close()
		flood := make(chan error, 1)
		go func() {
			for {
				if err := stalled.Send(1); err != nil {
					flood <- err
					return
				}
			}
		}()
		streams := make([]*rpc.Stream[int, int], n)
		for i := range streams {
			if streams[i], err = rpc.Open[int, int](ctx, p, "echo.each"); err != nil {
				t.Fatal(err)
			}
		}
		for round := range 2 {
			for i, st := range streams {
				if err := st.Send(i + round); err != nil {
					t.Fatal(err)
				}
			}
			for i, st := range streams {
				if v, err := st.Recv(); v != i+round || err != nil {
					t.Fatalf("stream %d: %d, %v", i, v, err)
				}
			}
		}
		if v, err := rpc.Call[int](ctx, p, "echo", 7); v != 7 || err != nil {
			t.Fatal(v, err)
		}
		for i, st := range streams {
			if i%2 == 0 {
				st.Close()
			} else if err := st.CloseSend(); err != nil {
				t.Fatal(err)
			}
		}
		for i, st := range streams {
			if _, err := st.Recv(); i%2 == 1 && err != io.EOF || i%2 == 0 && rpc.CodeOf(err) != rpc.Canceled {
				t.Fatalf("stream %d ended with %v", i, err)
			}
		}
		stalled.Close()
		if err := <-flood; rpc.CodeOf(err) != rpc.Canceled {
			t.Fatal(err)
		}
	})
}

// Streams are opened and closed one after the other, by several goroutines: 20,000, or a million with STANDPIPE_STORM=1.
func TestOpenClose(t *testing.T) {
	n := 20000
	if os.Getenv("STANDPIPE_STORM") == "1" {
		n = 1000000
	}
	serve(t, stormServer(), func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		var wg sync.WaitGroup
		for k := range 4 {
			wg.Go(func() {
				for i := range n / 4 {
					st, err := rpc.Open[int, int](context.Background(), p, "echo.each")
					if err != nil {
						t.Error(err)
						return
					}
					switch (i + k) % 3 {
					case 0:
						st.Close()
					case 1:
						st.CloseSend()
						if _, err := st.Recv(); err != io.EOF {
							t.Error(err)
						}
					case 2:
						st.Send(i)
						st.Close()
					}
				}
			})
		}
		wg.Wait()
		if err := streamSum(t.Context(), p, 10); err != nil {
			t.Fatal(err)
		}
	})
}

// Openers and handlers do as they like, and leave when they like: nobody hangs, and the connection is as good as before.
func TestWhims(t *testing.T) {
	serve(t, stormServer(), func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		done := make(chan bool)
		var wg sync.WaitGroup
		for k := range 16 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(k), 1))
				for range 150 {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(20000))*time.Microsecond)
					whim(ctx, p, rnd)
					cancel()
				}
			})
		}
		go func() { wg.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatal("somebody hangs")
		}
		if err := streamSum(t.Context(), p, 100); err != nil {
			t.Fatal(err)
		}
		if p.Err() != nil {
			t.Fatal(p.Err())
		}
	})
}

func whim(ctx context.Context, p *rpc.Peer, rnd *rand.Rand) {
	if rnd.IntN(4) == 0 {
		rpc.Call[int](ctx, p, "echo", rnd.IntN(100))
		return
	}
	st, err := rpc.Open[[]byte, int](ctx, p, "whim")
	if err != nil {
		return
	}
	st.Send(rnd.IntN(1 << 30))
	for range rnd.IntN(8) {
		switch rnd.IntN(5) {
		case 0, 1:
			st.Recv()
		case 2:
			st.Send(rnd.IntN(10))
		case 3:
			st.CloseSend()
		case 4:
			st.Header()
		}
	}
	if rnd.IntN(2) == 0 {
		st.Close()
		return
	}
	for { // to the end, or to that of the context
		if _, err := st.Recv(); err != nil {
			return
		}
	}
}
