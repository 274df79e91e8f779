package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

// streams is a server with a stream of each shape.
func streams() *rpc.Server {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.HandleStream(s, "count", func(ctx context.Context, st *rpc.Stream[int, int]) error { // one in, many out
		n, err := st.Recv()
		if err != nil {
			return err
		}
		for i := range n {
			if err := st.Send(i); err != nil {
				return err
			}
		}
		return nil
	})
	rpc.HandleStream(s, "sum", func(ctx context.Context, st *rpc.Stream[int, int]) error { // many in, one out
		sum := 0
		for n, err := range st.All() {
			if err != nil {
				return err
			}
			sum += n
		}
		return st.Send(sum)
	})
	rpc.HandleStream(s, "echo", func(ctx context.Context, st *rpc.Stream[[]byte, []byte]) error {
		for b, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send(b); err != nil {
				return err
			}
		}
		return nil
	})
	rpc.HandleStream(s, "fail", func(ctx context.Context, st *rpc.Stream[int, string]) error {
		if err := st.Send("one"); err != nil {
			return err
		}
		return &rpc.Error{Code: rpc.DataLoss, Message: "two is gone", Details: []rpc.Detail{{Type: "t", Value: []byte("v")}}}
	})
	rpc.HandleStream(s, "hang", func(ctx context.Context, st *rpc.Stream[int, int]) error {
		<-ctx.Done()
		return ctx.Err()
	})
	return s
}

func TestStreamShapes(t *testing.T) {
	serve(t, streams(), func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		st, err := rpc.Open[int, int](t.Context(), p, "count")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(st.Send(1000), st.CloseSend()); err != nil {
			t.Fatal(err)
		}
		i := 0
		for n, err := range st.All() {
			if err != nil || n != i {
				t.Fatalf("value %d is %d, %v", i, n, err)
			}
			i++
		}
		if i != 1000 {
			t.Fatalf("%d values", i)
		}
		if _, err := st.Recv(); err != io.EOF {
			t.Fatalf("behind the end: %v", err)
		}

		if st, err = rpc.Open[int, int](t.Context(), p, "sum"); err != nil {
			t.Fatal(err)
		}
		want := 0
		for i := range 10000 {
			want += i
			if err := st.Send(i); err != nil {
				t.Fatal(err)
			}
		}
		if err := st.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if n, err := st.Recv(); n != want || err != nil {
			t.Fatalf("the sum is %d, %v, not %d", n, err, want)
		}
		if err := st.Send(1); rpc.CodeOf(err) != rpc.FailedPrecondition {
			t.Fatalf("Send behind CloseSend: %v", err)
		}
		if _, err := st.Recv(); err != io.EOF {
			t.Fatal(err)
		}
		if err := st.CloseSend(); err != nil {
			t.Fatalf("a second CloseSend: %v", err)
		}
		st.Close()

		// So it is, too, where the other side had ended the stream before.
		if st, err = rpc.Open[int, int](t.Context(), p, "count"); err != nil {
			t.Fatal(err)
		}
		if err := st.Send(0); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Recv(); err != io.EOF {
			t.Fatal(err)
		}
		if err := st.Send(1); err != io.EOF {
			t.Fatalf("Send behind the end: %v", err)
		}
		if err := st.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if err := st.Send(1); rpc.CodeOf(err) != rpc.FailedPrecondition {
			t.Fatalf("Send behind CloseSend, behind the end: %v", err)
		}
		st.Close()
	})
}

// What goes in comes out, in order, whatever the sizes; far more than the window.
func TestStreamEcho(t *testing.T) {
	serve(t, streams(), func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		st, err := rpc.Open[[]byte, []byte](t.Context(), p, "echo")
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		sizes := []int{0, 1, 4095, 4096, 4097, 65535, 65536, 1 << 20, 5 << 20, 3}
		var wg sync.WaitGroup
		wg.Go(func() {
			for round := range 3 {
				for i, n := range sizes {
					b := []byte(strings.Repeat(string(rune('a'+round+i)), n))
					if err := st.Send(b); err != nil {
						t.Errorf("Send of %d bytes: %v", n, err)
						return
					}
				}
			}
			if err := st.CloseSend(); err != nil {
				t.Error(err)
			}
		})
		for round := range 3 {
			for i, n := range sizes {
				b, err := st.Recv()
				if err != nil || len(b) != n || strings.Trim(string(b), string(rune('a'+round+i))) != "" {
					t.Fatalf("round %d: %d bytes came for %d, %v", round, len(b), n, err)
				}
			}
		}
		if _, err := st.Recv(); err != io.EOF {
			t.Fatal(err)
		}
		wg.Wait()
	})
}

func TestStreamFails(t *testing.T) {
	serve(t, streams(), func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		st, err := rpc.Open[string, int](t.Context(), p, "fail")
		if err != nil {
			t.Fatal(err)
		}
		if v, err := st.Recv(); v != "one" || err != nil {
			t.Fatal(v, err)
		}
		_, err = st.Recv()
		var e *rpc.Error
		if !errors.As(err, &e) || e.Code != rpc.DataLoss || e.Message != "two is gone" || len(e.Details) != 1 || string(e.Details[0].Value) != "v" {
			t.Fatalf("the stream ended with %+v", err)
		}
		if err := st.Send(1); err != io.EOF {
			t.Fatalf("Send to a stream that has failed: %v", err)
		}
		for _, c := range []struct {
			method string
			code   rpc.Code
		}{{"nope", rpc.Unimplemented}, {"", rpc.InvalidArgument}} {
			st, err := rpc.Open[int, int](t.Context(), p, c.method)
			if err == nil {
				_, err = st.Recv()
			}
			if rpc.CodeOf(err) != c.code {
				t.Errorf("%q: %v", c.method, err)
			}
		}
		if _, err := rpc.Call[int](t.Context(), p, "count", 3); rpc.CodeOf(err) != rpc.Unimplemented {
			t.Errorf("a stream that was called: %v", err)
		}
	})
}

// The context, Close and the end of the connection end a Recv and a Send that wait.
func TestStreamEnds(t *testing.T) {
	type ends struct {
		name string
		do   func(cancel context.CancelFunc, st *rpc.Stream[int, int], p *rpc.Peer)
		code rpc.Code
	}
	for _, c := range []ends{
		{"context", func(cancel context.CancelFunc, _ *rpc.Stream[int, int], _ *rpc.Peer) { cancel() }, rpc.Canceled},
		{"close", func(_ context.CancelFunc, st *rpc.Stream[int, int], _ *rpc.Peer) { st.Close() }, rpc.Canceled},
		{"connection", func(_ context.CancelFunc, _ *rpc.Stream[int, int], p *rpc.Peer) { p.Close() }, rpc.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			gone := make(chan error, 1)
			s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
			rpc.HandleStream(s, "hang", func(ctx context.Context, st *rpc.Stream[int, int]) error {
				<-ctx.Done()
				gone <- ctx.Err()
				return ctx.Err()
			})
			serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
				p := dial(nil)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				st, err := rpc.Open[int, int](ctx, p, "hang")
				if err != nil {
					t.Fatal(err)
				}
				errs := make(chan error, 2)
				go func() {
					_, err := st.Recv()
					errs <- err
				}()
				go func() {
					for {
						if err := st.Send(1); err != nil {
							errs <- err
							return
						}
					}
				}()
				time.Sleep(20 * time.Millisecond) // until Send is out of credit
				c.do(cancel, st, p)
				for range 2 {
					select {
					case err := <-errs:
						if rpc.CodeOf(err) != c.code {
							t.Errorf("it ended with %v", err)
						}
					case <-time.After(5 * time.Second):
						t.Fatal("somebody still waits")
					}
				}
				select {
				case <-gone:
				case <-time.After(5 * time.Second):
					t.Fatal("the handler's context does not end")
				}
			})
		})
	}
}

// One stream that nobody reads holds up no other, and no call.
func TestStreamStalled(t *testing.T) {
	serve(t, streams(), func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		stalled, err := rpc.Open[int, int](t.Context(), p, "count")
		if err != nil {
			t.Fatal(err)
		}
		defer stalled.Close()
		if err := stalled.Send(1 << 30); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			st, err := rpc.Open[int, int](t.Context(), p, "count")
			if err != nil {
				t.Fatal(err)
			}
			if err := st.Send(10000); err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, err := range st.All() {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if n != 10000 {
				t.Fatalf("%d values", n)
			}
		}
	})
}

// The goroutines that send on one stream keep their own order.
func TestStreamOrder(t *testing.T) {
	const senders, each = 8, 2000
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.HandleStream(s, "order", func(_ context.Context, st *rpc.Stream[[2]int, string]) error {
		var next [senders]int
		for v, err := range st.All() {
			if err != nil {
				return err
			}
			if next[v[0]] != v[1] {
				return fmt.Errorf("sender %d: %d came for %d", v[0], v[1], next[v[0]])
			}
			next[v[0]]++
		}
		return st.Send("all in order")
	})
	serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		st, err := rpc.Open[string, [2]int](t.Context(), p, "order")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() {
				for j := range each {
					if err := st.Send([2]int{i, j}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		st.CloseSend()
		if got, err := st.Recv(); got != "all in order" || err != nil {
			t.Fatal(got, err)
		}
	})
}

// What begins after the opener's context has ended fails, though values are there, or the stream has ended well.
func TestStreamContextFirst(t *testing.T) {
	serve(t, streams(), func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		for i := range 300 {
			ctx, cancel := context.WithCancel(t.Context())
			st, err := rpc.Open[int, int](ctx, p, "sum")
			if err != nil {
				t.Fatal(err)
			}
			if err := st.Send(1); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 { // the result may come at any time
				if err := st.CloseSend(); err != nil {
					t.Fatal(err)
				}
			}
			if i%4 == 0 {
				st.Header() // it has come
			}
			cancel()
			if err := st.Send(2); err == nil {
				t.Fatal(i, "it was sent")
			}
			if v, err := st.Recv(); rpc.CodeOf(err) != rpc.Canceled {
				t.Fatal(i, v, err)
			}
		}
	})
}
