package rpc

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
)

// pairOf are a client and its server's Peer, in the ring, which both echo and size.
func pairOf(t *testing.T) (p, q *Peer) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	s := NewServer(&ServerConfig{Ring: msg.RingOn, Log: quiet})
	Handle(s, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	Handle(s, "size", func(_ context.Context, b msg.Buffer) (int, error) { return b.Len(), nil })
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, q = NewPeer(a, &DialConfig{Ring: msg.RingOn, Server: s, Log: quiet}), newPeer(b, s.options(), false)
	t.Cleanup(func() {
		p.Close()
		q.Close()
		<-p.Done()
		<-q.Done()
	})
	return p, q
}

// Whoever allocates without end, and so looks each time for what has been given back, keeps nothing from the reader that is not for him.
func TestNewBufferLeavesTheRest(t *testing.T) {
	for name, send := range map[string]func(ctx context.Context, p, q *Peer) error{
		"large": func(ctx context.Context, _, q *Peer) error {
			got, err := Call[[]byte](ctx, q, "echo", bytes.Repeat([]byte("x"), 20_000))
			if err == nil && len(got) != 20_000 {
				err = Errorf(Internal, "%d bytes", len(got))
			}
			return err
		},
		"small": func(ctx context.Context, _, q *Peer) error {
			_, err := Call[[]byte](ctx, q, "echo", []byte("x"))
			return err
		},
		"Buffer": func(ctx context.Context, _, q *Peer) error {
			b, err := q.NewBuffer(ctx, 300_000)
			if err == nil {
				_, err = Call[int](ctx, q, "size", b)
			}
			return err
		},
		"abort": func(ctx context.Context, p, q *Peer) error {
			q.ch.Abort("no more")
			select {
			case <-p.Done():
				return nil
			case <-ctx.Done():
				return Errorf(DeadlineExceeded, "nobody hears of the end")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			p, q := pairOf(t)
			b, err := p.NewBuffer(ctx, msg.EagerRelease)
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
					if b, err := p.NewBuffer(ctx, msg.EagerRelease); err == nil {
						b.Release()
					}
				}
			}()
			for i := range 5 {
				if err := send(ctx, p, q); err != nil {
					t.Fatal(i, err)
				}
			}
			close(stop)
			<-stopped
		})
	}
}
