package rpc_test

import (
	"context"
	"testing"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

// Where nothing is shared, calls whose context ends while their Buffer is on its way leave nothing behind, and others go on meanwhile.
func TestCancelledOnTheWay(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, MaxCalls: 16})
	rpc.Handle(s, "take", func(ctx context.Context, in picture) (int, error) {
		return in.Pixel.Len(), nil
	})
	rpc.Handle(s, "echo", func(ctx context.Context, n int) (int, error) { return n, nil })
	serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			outcomes := map[rpc.Code]int{}
			for i := range 40 { // more than the calls that may be open at once
				const n = 2 << 20
				b := filled(t, p, n, 1)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%8)*3*time.Millisecond)
				got, err := rpc.Call[int](ctx, p, "take", picture{Pixel: b})
				cancel()
				outcomes[rpc.CodeOf(err)]++
				if code := rpc.CodeOf(err); code != rpc.OK && code != rpc.DeadlineExceeded || code == rpc.OK && got != n {
					t.Error(i, got, err)
				}
				if err != nil {
					b.Release() // perhaps it was not sent: then it is still ours
				}
			}
			t.Log(outcomes)
		}()
		for i := 0; ; i++ {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			n, err := rpc.Call[int](ctx, p, "echo", i)
			cancel()
			if err != nil || n != i {
				t.Fatal(i, n, err)
			}
			select {
			case <-done:
				b := filled(t, p, 4<<20, 2) // all is as it was
				if n, err := rpc.Call[int](t.Context(), p, "take", picture{Pixel: b}); err != nil || n != 4<<20 {
					t.Fatal(n, err)
				}
				return
			default:
			}
		}
	})
}
