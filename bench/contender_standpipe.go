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

func init() {
	const defaults = "handlers are plain functions, free to block"
	register(contender{name: "standpipe", group: ours, over: "ring", serve: standpipeServe, payload: recordPayload, max: standpipeMost,
		note: "typed calls of a MessagePack struct of three fields, whose encoding has the size; one way by a stream of []byte; " + defaults,
		dial: func(e *env) (client, error) { return standpipeDial(e, typedEnd{}, msg.RingAuto) }})
	register(contender{name: "standpipe-gen", group: ours, over: "ring", serve: standpipeServe, payload: recordPayload, max: standpipeMost,
		note:    "as standpipe, with code for the struct that msgp has generated, which goes by no reflection",
		modules: []string{"github.com/tinylib/msgp"},
		dial:    func(e *env) (client, error) { return standpipeDial(e, generatedEnd{}, msg.RingAuto) }})
	register(contender{name: "standpipe-raw", group: ours, over: "ring", serve: standpipeServe, max: standpipeMost,
		note: "values that are encoded already (rpc.Raw); one way by a stream of them; " + defaults,
		dial: func(e *env) (client, error) { return standpipeDial(e, rawEnd{}, msg.RingAuto) }})
	register(contender{name: "standpipe-off", group: ours, over: "unix", serve: standpipeServe, payload: recordPayload, max: standpipeMost,
		note: "as standpipe, with the ring off: all goes over the socket",
		dial: func(e *env) (client, error) { return standpipeDial(e, typedEnd{}, msg.RingOff) }})
	register(contender{name: "standpipe-raw-off", group: ours, over: "unix", serve: standpipeServe, max: standpipeMost,
		note: "as standpipe-raw, with the ring off",
		dial: func(e *env) (client, error) { return standpipeDial(e, rawEnd{}, msg.RingOff) }})
}

// standpipeMost is the largest message; by default it is 16 MiB.
const standpipeMost = 128 << 20

// record is what typed calls send both ways.
type record struct {
	ID   uint64 `json:"id"`
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// newRecord always has the same size but for data: the ID takes all of its 9 bytes.
func newRecord(data []byte) record { return record{1 << 40, "record", data} }

// recordPayload is how long a record's data is where its encoding has n bytes. The length of data is encoded in 2 to 5 bytes, so that
// for a few n there is none; it is the next one below then.
func recordPayload(n int) int {
	data := n - recordSize(0)
	for recordSize(data) > n {
		data--
	}
	return data
}

func recordSize(data int) int {
	b, err := rpc.MessagePack.Append(nil, newRecord(make([]byte, data)))
	if err != nil {
		panic(err) // a bug: a record can be encoded
	}
	return len(b)
}

func standpipeServe(e *env) error {
	ln, err := standpipe.Listen(e.socket(), nil)
	if err != nil {
		return err
	}
	s := rpc.NewServer(&rpc.ServerConfig{MaxMessage: standpipeMost})
	rpc.Handle(s, "typed.echo", func(_ context.Context, r record) (record, error) { return r, nil })
	rpc.Handle(s, "generated.echo", func(_ context.Context, r generatedRecord) (generatedRecord, error) { return r, nil })
	rpc.Handle(s, "raw.echo", func(_ context.Context, r rpc.Raw) (rpc.Raw, error) { return r, nil })
	rpc.HandleStream(s, "typed.sink", func(_ context.Context, st *rpc.Stream[[]byte, uint64]) error {
		var sum uint64
		for b, err := range st.All() {
			if err != nil {
				return err
			}
			sum += touch(b)
		}
		return st.Send(sum)
	})
	rpc.HandleStream(s, "raw.sink", func(_ context.Context, st *rpc.Stream[rpc.Raw, uint64]) error {
		var sum uint64
		for r, err := range st.All() {
			if err != nil {
				return err
			}
			sum += touch(r.Data)
			r.Release()
		}
		return st.Send(sum)
	})
	handleBuffers(s)
	e.ready(e.socket())
	return s.Serve(context.Background(), ln)
}

// An end is how a client calls: typed, raw, or with Buffers.
type end interface {
	caller(p *rpc.Peer) caller
	stream(p *rpc.Peer, msg []byte, n int) error
}

func standpipeDial(e *env, how end, ring msg.RingMode) (client, error) {
	p, err := rpc.Dial(context.Background(), e.addr, &rpc.DialConfig{MaxMessage: standpipeMost, Ring: ring})
	if err != nil {
		return nil, err
	}
	if how, ok := how.(bufferEnd); ok {
		return bufferClient{standpipeClient{p, how}}, nil
	}
	return standpipeClient{p, how}, nil
}

type standpipeClient struct {
	p   *rpc.Peer
	how end
}

func (c standpipeClient) caller() (caller, error)        { return c.how.caller(c.p), nil }
func (c standpipeClient) stream(msg []byte, n int) error { return c.how.stream(c.p, msg, n) }
func (c standpipeClient) close() error                   { return c.p.Close() }

type typedEnd struct{}

func (typedEnd) caller(p *rpc.Peer) caller { return typedCaller{p} }

func (typedEnd) stream(p *rpc.Peer, msg []byte, n int) error {
	return sinkStream(p, "typed.sink", n, func() ([]byte, error) { return msg, nil })
}

type typedCaller struct{ p *rpc.Peer }

func (k typedCaller) call(req []byte) ([]byte, error) {
	r, err := rpc.Call[record](context.Background(), k.p, "typed.echo", newRecord(req))
	return r.Data, err
}

type rawEnd struct{}

func (rawEnd) caller(p *rpc.Peer) caller { return &rawCaller{p: p} }

func (rawEnd) stream(p *rpc.Peer, msg []byte, n int) error {
	return sinkStream(p, "raw.sink", n, func() (rpc.Raw, error) { return rpc.Raw{Data: msg}, nil })
}

type rawCaller struct {
	p       *rpc.Peer
	in, out rpc.Raw
}

func (k *rawCaller) call(req []byte) ([]byte, error) {
	if len(k.out.Data) > 64<<10 { // a large result brings its own memory, if it need not be copied
		k.out.Release()
	}
	k.in.Data = req
	err := k.p.Call(context.Background(), "raw.echo", &k.in, &k.out)
	return k.out.Data, err
}

// sinkStream sends n values, and waits for what the handler makes of them.
func sinkStream[T any](p *rpc.Peer, method string, n int, next func() (T, error)) error {
	st, err := rpc.Open[uint64, T](context.Background(), p, method)
	if err != nil {
		return err
	}
	defer st.Close()
	for range n {
		v, err := next()
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
	if _, err := st.Recv(); err != nil {
		return err
	}
	if _, err := st.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("behind the sum: %w", err)
	}
	return nil
}
