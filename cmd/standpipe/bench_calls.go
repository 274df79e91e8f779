package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/rpc"
)

const (
	benchLargest = 1 << 30                 // bytes of a message, of any way
	benchFrame   = benchLargest + 64<<10   // what an encoded one takes at most
	benchShared  = int64(4)<<30 - 64<<10   // bytes of Buffers: the largest one may be on its way both ways
	benchQueued  = int64(4) * benchLargest // of arguments that a server holds
)

func serveBenchCalls(ctx context.Context, name string, ready func(string)) error {
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		return err
	}
	defer ln.Close()
	s := rpc.NewServer(&rpc.ServerConfig{MaxMessage: benchFrame, MaxShared: benchShared, MaxQueued: benchQueued, Drain: -1})
	rpc.Handle(s, "echo", func(_ context.Context, in []byte) ([]byte, error) { return in, nil })
	rpc.Handle(s, "buffer", func(ctx context.Context, in blob) (blob, error) {
		out, err := rpc.PeerFrom(ctx).NewBuffer(ctx, in.Data.Len())
		out.Copy(in.Data.Bytes())
		return blob{out}, err
	})
	rpc.HandleStream(s, "send", func(_ context.Context, st *rpc.Stream[[]byte, uint64]) error {
		return benchSumStream(st, benchTouch)
	})
	rpc.HandleStream(s, "send-buffer", func(_ context.Context, st *rpc.Stream[blob, uint64]) error {
		return benchSumStream(st, func(b blob) uint64 {
			defer b.Data.Release()
			return benchTouch(b.Data.Bytes())
		})
	})
	ready(name)
	return s.Serve(ctx, ln)
}

func benchSumStream[T any](st *rpc.Stream[T, uint64], touch func(T) uint64) error {
	var sum uint64
	for v, err := range st.All() {
		if err != nil {
			return err
		}
		sum += touch(v)
	}
	return st.Send(sum)
}

func dialBenchPeer(ctx context.Context, name string) (*rpc.Peer, error) {
	return rpc.Dial(ctx, name, &rpc.DialConfig{MaxMessage: benchFrame, MaxShared: benchShared, MaxQueued: benchQueued})
}

// benchCall makes calls with bytes.
type benchCall struct{ peer *rpc.Peer }

func dialBenchCall(ctx context.Context, name string) (benchClient, error) {
	p, err := dialBenchPeer(ctx, name)
	return benchCall{p}, err
}

func (c benchCall) echo(ctx context.Context, msg []byte) ([]byte, error) {
	return rpc.Call[[]byte](ctx, c.peer, "echo", msg)
}

func (c benchCall) send(ctx context.Context, msg []byte, n int) error {
	return benchSendStream(ctx, c.peer, "send", msg, n, func() ([]byte, error) { return msg, nil })
}

func (c benchCall) close() error { return c.peer.Close() }

// benchSendStream sends n values, and holds the server's sum against what was sent.
func benchSendStream[T any](ctx context.Context, p *rpc.Peer, method string, msg []byte, n int, value func() (T, error)) error {
	st, err := rpc.Open[uint64, T](ctx, p, method)
	if err != nil {
		return err
	}
	defer st.Close()
	for range n {
		v, err := value()
		if err != nil {
			return err
		}
		if err := st.Send(v); err != nil {
			return err
		}
	}
	if err := st.CloseSend(); err != nil {
		return err
	}
	sum, err := st.Recv()
	if err != nil {
		return err
	}
	if _, err := st.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the stream did not end behind the sum: %w", err)
	}
	return benchSum(sum, msg, n)
}

// benchBuffer makes calls that carry a Buffer.
type benchBuffer struct {
	peer *rpc.Peer
	last msg.Buffer // what the last answer lies in
}

func dialBenchBuffer(ctx context.Context, name string) (benchClient, error) {
	p, err := dialBenchPeer(ctx, name)
	return &benchBuffer{peer: p}, err
}

// fill is a Buffer with the message.
func (c *benchBuffer) fill(ctx context.Context, msg []byte) (blob, error) {
	b, err := c.peer.NewBuffer(ctx, len(msg))
	if err == nil {
		b.Copy(msg)
	}
	return blob{b}, err
}

func (c *benchBuffer) echo(ctx context.Context, msg []byte) ([]byte, error) {
	c.last.Release()
	in, err := c.fill(ctx, msg)
	if err != nil {
		return nil, err
	}
	out, err := rpc.Call[blob](ctx, c.peer, "buffer", in)
	c.last = out.Data
	return c.last.Bytes(), err
}

func (c *benchBuffer) send(ctx context.Context, msg []byte, n int) error {
	return benchSendStream(ctx, c.peer, "send-buffer", msg, n, func() (blob, error) { return c.fill(ctx, msg) })
}

func (c *benchBuffer) close() error {
	c.last.Release()
	return c.peer.Close()
}
