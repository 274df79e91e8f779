package main

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func init() {
	const most = 4<<20 - 64 // a message of ttrpc's has 4 MiB at most
	register(contender{name: "ttrpc", group: peers, over: "unix", modules: []string{"github.com/containerd/ttrpc"}, max: most,
		note:  "Protobuf (BytesValue), messages of 4 MiB at most; one way by client streaming",
		serve: ttrpcServe,
		dial: func(e *env) (client, error) {
			c, err := net.Dial("unix", e.addr)
			if err != nil {
				return nil, err
			}
			return ttrpcClient{ttrpc.NewClient(c)}, nil
		}})
}

func ttrpcServe(e *env) error {
	ln, err := listen(e, "unix")
	if err != nil {
		return err
	}
	s, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	s.RegisterService("Bench", &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{"Echo": ttrpcEcho},
		Streams: map[string]ttrpc.Stream{"Sink": {StreamingClient: true, Handler: ttrpcSink}},
	})
	e.ready(e.socket())
	return s.Serve(context.Background(), ln)
}

func ttrpcEcho(_ context.Context, decode func(any) error) (any, error) {
	var m wrapperspb.BytesValue
	if err := decode(&m); err != nil {
		return nil, err
	}
	return wrapperspb.Bytes(m.Value), nil
}

func ttrpcSink(_ context.Context, s ttrpc.StreamServer) (any, error) {
	var sum uint64
	for {
		var m wrapperspb.BytesValue
		if err := s.RecvMsg(&m); errors.Is(err, io.EOF) {
			return wrapperspb.UInt64(sum), nil
		} else if err != nil {
			return nil, err
		}
		sum += touch(m.Value)
	}
}

type ttrpcClient struct{ c *ttrpc.Client }

func (c ttrpcClient) caller() (caller, error) { return ttrpcCaller(c), nil }
func (c ttrpcClient) close() error            { return c.c.Close() }

func (c ttrpcClient) stream(msg []byte, n int) error {
	s, err := c.c.NewStream(context.Background(), &ttrpc.StreamDesc{StreamingClient: true}, "Bench", "Sink", nil)
	if err != nil {
		return err
	}
	for range n {
		if err := s.SendMsg(wrapperspb.Bytes(msg)); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	return s.RecvMsg(new(wrapperspb.UInt64Value))
}

type ttrpcCaller struct{ c *ttrpc.Client }

func (k ttrpcCaller) call(req []byte) ([]byte, error) {
	var r wrapperspb.BytesValue
	err := k.c.Call(context.Background(), "Bench", "Echo", wrapperspb.Bytes(req), &r)
	return r.Value, err
}
