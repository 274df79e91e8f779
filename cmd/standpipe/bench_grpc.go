package main

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// benchGRPCDesc is what protoc-gen-go-grpc would make of a service with a call and a client's stream.
var benchGRPCDesc = grpc.ServiceDesc{
	ServiceName: "standpipe.Bench",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Echo",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := &wrapperspb.BytesValue{}
			return in, decode(in)
		}}},
	Streams: []grpc.StreamDesc{{StreamName: "Send", ClientStreams: true, Handler: benchGRPCSend}},
}

func benchGRPCSend(_ any, s grpc.ServerStream) error {
	var sum uint64
	for {
		in := &wrapperspb.BytesValue{}
		err := s.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			return s.SendMsg(wrapperspb.UInt64(sum))
		}
		if err != nil {
			return err
		}
		sum += benchTouch(in.Value)
	}
}

func serveBenchGRPC(ctx context.Context, _ string, ready func(string)) error {
	ln, err := benchListenTCP()
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(benchFrame), grpc.MaxSendMsgSize(benchFrame))
	s.RegisterService(&benchGRPCDesc, nil)
	defer context.AfterFunc(ctx, s.Stop)()
	ready(ln.Addr().String())
	return s.Serve(ln)
}

type benchGRPC struct{ conn *grpc.ClientConn }

func dialBenchGRPC(_ context.Context, addr string) (benchClient, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(benchFrame), grpc.MaxCallSendMsgSize(benchFrame)))
	return benchGRPC{conn}, err
}

func (c benchGRPC) echo(ctx context.Context, msg []byte) ([]byte, error) {
	out := &wrapperspb.BytesValue{}
	err := c.conn.Invoke(ctx, "/standpipe.Bench/Echo", wrapperspb.Bytes(msg), out)
	return out.Value, err
}

func (c benchGRPC) send(ctx context.Context, msg []byte, n int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.conn.NewStream(ctx, &benchGRPCDesc.Streams[0], "/standpipe.Bench/Send")
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
	sum := &wrapperspb.UInt64Value{}
	if err := s.RecvMsg(sum); err != nil {
		return err
	}
	return benchSum(sum.Value, msg, n)
}

func (c benchGRPC) close() error { return c.conn.Close() }
