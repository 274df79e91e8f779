package rpc_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/rpc"
)

// A receiver that never releases: NewBuffer waits, and its error says who has what. Meanwhile calls and streams of the same connection go
// on, and Buffers of others.
func TestHoarder(t *testing.T) {
	const n = 400_000
	var mu sync.Mutex
	var hoard []msg.Buffer
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, MaxShared: 1 << 20})
	rpc.Handle(s, "hoard", func(ctx context.Context, in killBlob) (int, error) {
		rpc.Keep(ctx, in.Data)
		mu.Lock()
		defer mu.Unlock()
		hoard = append(hoard, in.Data)
		return len(hoard), nil
	})
	rpc.Handle(s, "size", func(_ context.Context, in killBlob) (int, error) { return in.Data.Len(), nil })
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
	at := startServing(t, s)
	p, other := at.dial(t, nil), at.dial(t, nil)
	b := filled(t, p, n, 1)
	if !b.Shared() {
		b.Release()
		t.Skip("no memory is shared on this system")
	}
	if v, err := rpc.Call[int](bounded(t), p, "hoard", killBlob{b}); v != 1 || err != nil {
		t.Fatal(v, err)
	}
	own := filled(t, p, n, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if b, err := p.NewBuffer(ctx, n); !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "in 1 buffers are with the peer") || !strings.Contains(err.Error(), "in 1 buffers are here") {
		b.Release()
		t.Fatal(err)
	}
	next := make(chan error, 1)
	go func() { // waits while the rest goes on
		b, err := p.NewBuffer(bounded(t), n)
		b.Release()
		next <- err
	}()
	for i := range 200 {
		if v, err := rpc.Call[int](bounded(t), p, "echo", i); v != i || err != nil {
			t.Fatal(v, err)
		}
		if v, err := rpc.Call[int](bounded(t), other, "size", killBlob{filled(t, other, n, 3)}); v != n || err != nil {
			t.Fatal(v, err)
		}
	}
	if err := streamSum(bounded(t), p, 200); err != nil {
		t.Fatal(err)
	}
	if v, err := rpc.Call[int](bounded(t), p, "size", killBlob{own}); v != n || err != nil { // what is here may be sent
		t.Fatal(v, err)
	}
	if err := <-next; err != nil { // and comes back
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, b := range hoard {
		if !isFilled(b, n, 1) {
			t.Error("what is kept has changed")
		}
		b.Release()
	}
}
