package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

// spoiler is a codec that fails on some values, and forgets what it was given to append to.
type spoiler struct{ rpc.Codec }

func (spoiler) Name() string { return "spoiler" }

const broken = 1 << 40

func (s spoiler) Append(b []byte, v any) ([]byte, error) {
	switch n, ok := v.(*int); {
	case ok && *n < 0:
		return nil, errors.New("below 0")
	case ok && *n == broken: // not what it ought to do
		return make([]byte, 9), nil
	}
	return s.Codec.Append(b, v)
}

// Calls of other methods, types and peers, with and without metadata and deadlines, use each other's memory again, and see nothing of it.
func TestCallsInTurns(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, Codec: spoiler{rpc.JSON}})
	rpc.Handle(s, "add", func(_ context.Context, n int) (int, error) { return n + 1, nil })
	rpc.Handle(s, "text", func(_ context.Context, s string) (string, error) { return s + "!", nil })
	rpc.Handle(s, "text, and a name that is longer", func(ctx context.Context, s string) (int, error) {
		_, limited := ctx.Deadline()
		if md := rpc.MetadataFrom(ctx); len(md) > 0 || limited {
			return 0, fmt.Errorf("%v, limited: %v", md, limited)
		}
		return len(s), nil
	})
	rpc.Handle(s, "meta", func(ctx context.Context, _ struct{}) (rpc.Metadata, error) { return rpc.MetadataFrom(ctx), nil })
	sv := startServing(t, s)
	peers := []*rpc.Peer{sv.dial(t, nil), sv.dial(t, nil), sv.dial(t, &rpc.DialConfig{Codec: spoiler{rpc.JSON}})}
	one := func(i int) error {
		p := peers[i%len(peers)]
		ctx := context.Background()
		switch i % 7 {
		case 0, 1:
			if n, err := rpc.Call[int](ctx, p, "add", i); err != nil || n != i+1 {
				return fmt.Errorf("add: %d, %v", n, err)
			}
		case 2:
			if s, err := rpc.Call[string](ctx, p, "text", "hello"); err != nil || s != "hello!" {
				return fmt.Errorf("text: %q, %v", s, err)
			}
		case 3:
			if n, err := rpc.Call[int](ctx, p, "text, and a name that is longer", "hello"); err != nil || n != 5 {
				return fmt.Errorf("long: %d, %v", n, err)
			}
		case 4:
			limited, cancel := context.WithTimeout(rpc.WithMetadata(ctx, rpc.Metadata{"k": {"v"}}), time.Minute)
			defer cancel()
			if md, err := rpc.Call[rpc.Metadata](limited, p, "meta", struct{}{}); err != nil || fmt.Sprint(md) != "map[k:[v]]" {
				return fmt.Errorf("meta: %v, %v", md, err)
			}
		case 5:
			if _, err := rpc.Call[int](ctx, peers[2], "add", -i); rpc.CodeOf(err) != rpc.InvalidArgument {
				return fmt.Errorf("a value that can't be encoded: %v", err)
			}
			if n, err := rpc.Call[int](ctx, peers[2], "add", i); err != nil || n != i+1 {
				return fmt.Errorf("add: %d, %v", n, err)
			}
		case 6:
			if n, err := rpc.Call[int](ctx, p, "no such method", "hello"); rpc.CodeOf(err) != rpc.Unimplemented || n != 0 {
				return fmt.Errorf("no method: %d, %v", n, err)
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				if err := one(i*4 + k); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A codec that does what it must not breaks its own connection, and no other.
func TestBrokenCodec(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "add", func(_ context.Context, n int) (int, error) { return n + 1, nil })
	sv := startServing(t, s)
	good := sv.dial(t, nil)
	for i := range 20 {
		bad := sv.dial(t, &rpc.DialConfig{Codec: spoiler{rpc.JSON}, Log: quiet})
		if _, err := rpc.Call[int](t.Context(), bad, "add", broken); err == nil {
			t.Error("it was answered")
		}
		if n, err := rpc.Call[int](t.Context(), good, "add", i); err != nil || n != i+1 {
			t.Fatal(n, err)
		}
	}
}
