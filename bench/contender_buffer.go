package main

import (
	"context"
	"fmt"

	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/rpc"
)

// Buffers are memory of standpipe's that the other process sees, too.

func init() {
	register(contender{name: "standpipe-buffer", group: ours, over: "memory", serve: standpipeServe, huge: true,
		note: "values with a msg.Buffer, which the sender fills by Buffer.Copy each time, and the receiver reads in place; calls answer with a Buffer that they " +
			"fill so, too",
		dial: func(e *env) (client, error) { return standpipeDial(e, bufferEnd{fill: copyAll}, msg.RingAuto) }})
	register(contender{name: "standpipe-inplace", group: ours, over: "memory", serve: standpipeServe, huge: true, parts: partBulk,
		note: "as standpipe-buffer, of a sender whose messages come to be in the Buffer: there is no other place that they are copied from. It writes one byte of each cache " +
			"line, as the receiver reads one: the least that there is to do, and less than the floor does. One way only",
		dial: func(e *env) (client, error) { return standpipeDial(e, bufferEnd{fill: produce}, msg.RingAuto) }})
}

func copyAll(to msg.Buffer, from []byte) { to.Copy(from) }

// produce writes one byte of each cache line.
func produce(b msg.Buffer, _ []byte) {
	to := b.Bytes()
	for i := 0; i < len(to); i += 64 {
		to[i] = byte(i >> 6)
	}
}

// blob is a value with a Buffer beside it.
type blob struct {
	Data msg.Buffer `json:"data"`
}

// laden is a record with a Buffer beside it.
type laden struct {
	Record record     `json:"record"`
	Load   msg.Buffer `json:"load"`
}

func handleBuffers(s *rpc.Server) {
	rpc.Handle(s, "buffer.echo", func(ctx context.Context, in blob) (blob, error) {
		b, err := rpc.PeerFrom(ctx).NewBuffer(ctx, in.Data.Len())
		b.Copy(in.Data.Bytes())
		return blob{b}, err
	})
	rpc.HandleStream(s, "buffer.sink", func(_ context.Context, st *rpc.Stream[blob, uint64]) error {
		var sum uint64
		for b, err := range st.All() {
			if err != nil {
				return err
			}
			sum += touch(b.Data.Bytes())
			b.Data.Release()
		}
		return st.Send(sum)
	})
	rpc.Handle(s, "buffer.carry", func(_ context.Context, in laden) (record, error) { return in.Record, nil })
}

type bufferEnd struct {
	fill func(to msg.Buffer, from []byte)
}

func (h bufferEnd) blob(p *rpc.Peer, data []byte) (blob, error) {
	b, err := p.NewBuffer(context.Background(), len(data))
	if err == nil {
		h.fill(b, data)
	}
	return blob{b}, err
}

func (h bufferEnd) caller(p *rpc.Peer) caller { return &bufferCaller{p: p, how: h} }

func (h bufferEnd) stream(p *rpc.Peer, msg []byte, n int) error {
	return sinkStream(p, "buffer.sink", n, func() (blob, error) { return h.blob(p, msg) })
}

type bufferCaller struct {
	p    *rpc.Peer
	how  bufferEnd
	last blob
}

func (k *bufferCaller) call(req []byte) ([]byte, error) {
	k.last.Data.Release()
	in, err := k.how.blob(k.p, req)
	if err != nil {
		return nil, err
	}
	k.last, err = rpc.Call[blob](context.Background(), k.p, "buffer.echo", in)
	return k.last.Data.Bytes(), err
}

// bufferClient can have calls carry a Buffer.
type bufferClient struct{ standpipeClient }

func (c bufferClient) carry(n int) (with, without func() error, err error) {
	r := newRecord(make([]byte, recordPayload(smallCall)))
	fresh := 10 // the first ones touch all of the memory, so that what is measured has memory that was used before
	with = func() error {
		b, err := c.p.NewBuffer(context.Background(), n)
		if err != nil {
			return err
		}
		if fresh > 0 {
			fresh--
			clear(b.Bytes())
		}
		return answered(rpc.Call[record](context.Background(), c.p, "buffer.carry", laden{r, b}))
	}
	without = func() error { return answered(rpc.Call[record](context.Background(), c.p, "typed.echo", r)) }
	return with, without, nil
}

func answered(r record, err error) error {
	if err == nil && r.ID != newRecord(nil).ID {
		err = fmt.Errorf("the answer is another record: %d", r.ID)
	}
	return err
}
