package grpcpipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/standpipe/standpipe/rpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// NewRegistrar makes what generated code registers its services with: they become methods of s, called "/package.Service/Method". Other
// methods of s, and those who call these by JSON, are not in its way.
func NewRegistrar(s *rpc.Server) grpc.ServiceRegistrar { return &registrar{s} }

type registrar struct{ s *rpc.Server }

// RegisterService panics where impl is not what the service needs, and where it is registered already, as grpc.Server does.
func (r *registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	if impl != nil {
		want := reflect.TypeOf(desc.HandlerType).Elem()
		if got := reflect.TypeOf(impl); !got.Implements(want) {
			panic(fmt.Sprintf("grpcpipe: a %v is not the %v that %s needs", got, want, desc.ServiceName))
		}
	}
	for i := range desc.Methods {
		r.unary(desc, &desc.Methods[i], impl)
	}
	for i := range desc.Streams {
		r.stream(desc, &desc.Streams[i], impl)
	}
}

func (r *registrar) unary(desc *grpc.ServiceDesc, m *grpc.MethodDesc, impl any) {
	name := "/" + desc.ServiceName + "/" + m.MethodName
	rpc.Handle(r.s, name, func(ctx context.Context, in rpc.Raw) (any, error) {
		reply, err := m.Handler(impl, handlerContext(ctx, name), func(v any) error {
			if err := in.Decode(v); err != nil {
				return status.Errorf(codes.Internal, "grpcpipe: the message can't be decoded: %v", err)
			}
			return nil
		}, nil)
		return reply, fromStatus(err)
	})
}

func (r *registrar) stream(desc *grpc.ServiceDesc, d *grpc.StreamDesc, impl any) {
	name := "/" + desc.ServiceName + "/" + d.StreamName
	rpc.HandleStream(r.s, name, func(ctx context.Context, st *rpc.Stream[rpc.Raw, any]) error {
		return fromStatus(d.Handler(impl, &serverStream{ctx: handlerContext(ctx, name), st: st}))
	})
}

// handlerContext has what handlers ask gRPC's packages for.
func handlerContext(ctx context.Context, method string) context.Context {
	if md := rpc.MetadataFrom(ctx); md != nil {
		ctx = metadata.NewIncomingContext(ctx, metadata.MD(md))
	} else {
		ctx = metadata.NewIncomingContext(ctx, metadata.MD{})
	}
	ctx = peer.NewContext(ctx, peerOf(rpc.PeerFrom(ctx)))
	return grpc.NewContextWithServerTransportStream(ctx, &transportStream{ctx, method})
}

// transportStream is where grpc.SetHeader, SendHeader, SetTrailer and Method look.
type transportStream struct {
	ctx    context.Context
	method string
}

func (t *transportStream) Method() string { return t.method }

func (t *transportStream) SetHeader(md metadata.MD) error {
	return setError(rpc.SetHeader(t.ctx, carried(md)))
}

func (t *transportStream) SendHeader(md metadata.MD) error {
	return setError(rpc.SendHeader(t.ctx, carried(md)))
}

func (t *transportStream) SetTrailer(md metadata.MD) error {
	return setError(rpc.SetTrailer(t.ctx, carried(md)))
}

func setError(err error) error {
	if err == nil {
		return nil
	}
	return status.Error(codes.Internal, err.Error())
}

type serverStream struct {
	ctx context.Context
	st  *rpc.Stream[rpc.Raw, any]
}

func (s *serverStream) SetHeader(md metadata.MD) error  { return grpc.SetHeader(s.ctx, md) }
func (s *serverStream) SendHeader(md metadata.MD) error { return grpc.SendHeader(s.ctx, md) }
func (s *serverStream) SetTrailer(md metadata.MD)       { _ = grpc.SetTrailer(s.ctx, md) }
func (s *serverStream) Context() context.Context        { return s.ctx }
func (s *serverStream) SendMsg(m any) error             { return toStatus(s.st.Send(m)) }

func (s *serverStream) RecvMsg(m any) error {
	raw, err := s.st.Recv()
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	if err != nil {
		return toStatus(err)
	}
	defer raw.Release()
	if err := raw.Decode(m); err != nil {
		return status.Errorf(codes.Internal, "grpcpipe: the message can't be decoded: %v", err)
	}
	return nil
}
