package rpc

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
)

// pairOf are a client in the ring and its server's Peer, which both echo and size.
func pairOf(ctx context.Context, t *testing.T) (p, q *Peer) {
	t.Helper()
	peers := make(chan *Peer, 1)
	server := func() *Server {
		s := NewServer(&ServerConfig{Log: slog.New(slog.DiscardHandler)})
		Handle(s, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
		Handle(s, "size", func(_ context.Context, b msg.Buffer) (int, error) { return b.Len(), nil })
		Handle(s, "me", func(ctx context.Context, _ int) (int, error) { peers <- PeerFrom(ctx); return 0, nil })
		return s
	}
	name := fmt.Sprintf("poll-%d-%x", os.Getpid(), rand.Uint64())
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	serving, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server().Serve(serving, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	if p, err = Dial(ctx, name, &DialConfig{Ring: msg.RingOn, Server: server(), Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if _, err := Call[int](ctx, p, "me", 0); err != nil {
		t.Fatal(err)
	}
	return p, <-peers
}

// Whoever allocates without end, and so looks each time for what has been given back, keeps nothing from the reader that is not for him.
func TestNewBufferLeavesTheRest(t *testing.T) {
	for name, send := range map[string]func(ctx context.Context, p *Peer) error{
		"large": func(ctx context.Context, p *Peer) error {
			got, err := Call[[]byte](ctx, p, "echo", bytes.Repeat([]byte("x"), 20_000))
			if err == nil && len(got) != 20_000 {
				err = Errorf(Internal, "%d bytes", len(got))
			}
			return err
		},
		"small": func(ctx context.Context, p *Peer) error {
			_, err := Call[[]byte](ctx, p, "echo", []byte("x"))
			return err
		},
		"Buffer": func(ctx context.Context, p *Peer) error {
			b, err := p.NewBuffer(ctx, 300_000)
			if err == nil {
				_, err = Call[int](ctx, p, "size", b)
			}
			return err
		},
		"abort": func(_ context.Context, p *Peer) error { p.ch.Abort("no more"); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			p, q := pairOf(ctx, t)
			b, err := p.NewBuffer(ctx, eagerRelease)
			if err != nil {
				t.Fatal(err)
			}
			shared := b.Shared()
			b.Release()
			if !shared {
				t.Skip("no memory is shared here")
			}
			for range 100 { // then nobody reads for a while
				if _, err := Call[[]byte](ctx, p, "echo", []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Microsecond):
					}
					if b, err := p.NewBuffer(ctx, eagerRelease); err == nil {
						b.Release()
					}
				}
			}()
			for i := range 5 {
				if err := send(ctx, q); err != nil {
					t.Fatal(i, err)
				}
				if name == "abort" {
					break
				}
			}
			if name == "abort" {
				select {
				case <-p.Done():
				case <-ctx.Done():
					t.Error("nobody hears of the end")
				}
			}
			close(stop)
			<-stopped
		})
	}
}
