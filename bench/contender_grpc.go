package main

import (
	"context"
	"errors"
	"io"
	"math"
	"runtime"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func init() {
	register(contender{name: "grpc-go", group: peers, over: "unix", modules: []string{"google.golang.org/grpc"},
		note:  "Protobuf (BytesValue), stream workers, flow control windows of 16 MiB; one way by client streaming",
		serve: grpcServe, dial: grpcDial})
}

const (
	grpcWindow  = 16 << 20
	grpcStreams = 1 << 20
)

func grpcServe(e *env) error {
	ln, err := listen(e, "unix")
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(math.MaxInt32), grpc.MaxSendMsgSize(math.MaxInt32), grpc.NumStreamWorkers(uint32(runtime.NumCPU())),
		grpc.InitialWindowSize(grpcWindow), grpc.InitialConnWindowSize(grpcWindow), grpc.MaxConcurrentStreams(grpcStreams))
	s.RegisterService(&grpcService, nil)
	e.ready("unix:" + e.socket())
	return s.Serve(ln)
}

func grpcDial(e *env) (client, error) {
	c, err := grpc.NewClient(e.addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(grpcWindow), grpc.WithInitialConnWindowSize(grpcWindow),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)))
	if err != nil {
		return nil, err
	}
	return grpcClient{c, c.Close}, nil
}

// grpcService is what protoc-gen-go-grpc would generate.
var grpcService = grpc.ServiceDesc{
	ServiceName: "Bench",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: grpcEcho}},
	Streams:     []grpc.StreamDesc{{StreamName: "Sink", ClientStreams: true, Handler: grpcSink}},
}

func grpcEcho(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	m := new(wrapperspb.BytesValue)
	if err := decode(m); err != nil {
		return nil, err
	}
	return &wrapperspb.BytesValue{Value: m.Value}, nil
}

func grpcSink(_ any, s grpc.ServerStream) error {
	var sum uint64
	for {
		m := new(wrapperspb.BytesValue)
		if err := s.RecvMsg(m); errors.Is(err, io.EOF) {
			return s.SendMsg(wrapperspb.UInt64(sum))
		} else if err != nil {
			return err
		}
		sum += touch(m.Value)
	}
}

// grpcClient calls as generated code does.
type grpcClient struct {
	c   grpc.ClientConnInterface
	end func() error
}

func (c grpcClient) caller() (caller, error) { return grpcCaller{c.c}, nil }
func (c grpcClient) close() error            { return c.end() }

func (c grpcClient) stream(msg []byte, n int) error {
	s, err := c.c.NewStream(context.Background(), &grpcService.Streams[0], "/Bench/Sink")
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

type grpcCaller struct{ c grpc.ClientConnInterface }

func (k grpcCaller) call(req []byte) ([]byte, error) {
	r := new(wrapperspb.BytesValue)
	err := k.c.Invoke(context.Background(), "/Bench/Echo", wrapperspb.Bytes(req), r)
	return r.Value, err
}
