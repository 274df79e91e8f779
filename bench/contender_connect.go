package main

import (
	"context"
	"net"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func init() {
	register(contender{name: "connect-go", group: peers, over: "unix", modules: []string{"connectrpc.com/connect"},
		note:  "Connect's protocol over net/http's HTTP/2 without TLS, Protobuf (BytesValue), no compression; one way by client streaming",
		serve: connectServe, dial: connectDial})
}

const (
	connectEcho = "/Bench/Echo"
	connectSink = "/Bench/Sink"
)

func connectServe(e *env) error {
	ln, err := listen(e, "unix")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(connectEcho, connect.NewUnaryHandler(connectEcho,
		func(_ context.Context, r *connect.Request[wrapperspb.BytesValue]) (*connect.Response[wrapperspb.BytesValue], error) {
			return connect.NewResponse(wrapperspb.Bytes(r.Msg.Value)), nil
		}))
	mux.Handle(connectSink, connect.NewClientStreamHandler(connectSink,
		func(_ context.Context, s *connect.ClientStream[wrapperspb.BytesValue]) (*connect.Response[wrapperspb.UInt64Value], error) {
			var sum uint64
			for s.Receive() {
				sum += touch(s.Msg().Value)
			}
			return connect.NewResponse(wrapperspb.UInt64(sum)), s.Err()
		}))
	s := &http.Server{Handler: mux, Protocols: plainHTTP2(), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1 << 20,
		MaxReceiveBufferPerConnection: 32 << 20, MaxReceiveBufferPerStream: 16 << 20, MaxReadFrameSize: 1 << 20}}
	e.ready(e.socket())
	return s.Serve(ln)
}

// plainHTTP2 is HTTP/2 without TLS, and nothing else.
func plainHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

func connectDial(e *env) (client, error) {
	t := &http.Transport{Protocols: plainHTTP2(), HTTP2: &http.HTTP2Config{MaxReadFrameSize: 1 << 20},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", e.addr)
		}}
	h := &http.Client{Transport: t}
	plain := connect.WithAcceptCompression("gzip", nil, nil)
	return connectClient{
		connect.NewClient[wrapperspb.BytesValue, wrapperspb.BytesValue](h, "http://bench"+connectEcho, plain),
		connect.NewClient[wrapperspb.BytesValue, wrapperspb.UInt64Value](h, "http://bench"+connectSink, plain),
		t,
	}, nil
}

type connectClient struct {
	echo *connect.Client[wrapperspb.BytesValue, wrapperspb.BytesValue]
	sink *connect.Client[wrapperspb.BytesValue, wrapperspb.UInt64Value]
	t    *http.Transport
}

func (c connectClient) caller() (caller, error) { return connectCaller{c}, nil }

func (c connectClient) close() error {
	c.t.CloseIdleConnections()
	return nil
}

func (c connectClient) stream(msg []byte, n int) error {
	s := c.sink.CallClientStream(context.Background())
	for range n {
		if err := s.Send(wrapperspb.Bytes(msg)); err != nil {
			return err
		}
	}
	_, err := s.CloseAndReceive()
	return err
}

type connectCaller struct{ c connectClient }

func (k connectCaller) call(req []byte) ([]byte, error) {
	r, err := k.c.echo.CallUnary(context.Background(), connect.NewRequest(wrapperspb.Bytes(req)))
	if err != nil {
		return nil, err
	}
	return r.Msg.Value, nil
}
