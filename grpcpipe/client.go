package grpcpipe

import (
	"context"
	"errors"
	"io"

	"github.com/standpipe/standpipe/rpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// NewClientConn makes what generated clients call through. It may be used by many goroutines at once, and needs no Close: p is the
// caller's. Errors of calls are those of package status.
func NewClientConn(p *rpc.Peer) grpc.ClientConnInterface { return &clientConn{p} }

type clientConn struct{ p *rpc.Peer }

func (c *clientConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) (err error) {
	var o options
	if len(opts) > 0 {
		if o, err = c.options(opts); err != nil {
			return err
		}
		defer func() { o.finish(err) }()
	}
	if ctx, err = o.outgoing(ctx, method); err != nil {
		return err
	}
	var header, trailer rpc.Metadata
	if o.header != nil || o.trailer != nil {
		ctx = rpc.WithReply(ctx, &header, &trailer)
	}
	if err := o.checkSend(args); err != nil {
		return err
	}
	err = c.p.Call(ctx, method, args, reply)
	if o.header != nil {
		*o.header = metadata.MD(header)
	}
	if o.trailer != nil {
		*o.trailer = metadata.MD(trailer)
	}
	return toStatus(err)
}

func (c *clientConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	o, err := c.options(opts)
	if err != nil {
		return nil, err
	}
	out, err := o.outgoing(ctx, method)
	if err != nil {
		return nil, err
	}
	st, err := rpc.Open[rpc.Raw, any](rpc.WithCodec(out, rpc.Protobuf), c.p, method)
	if err != nil {
		err = toStatus(err)
		o.finish(err)
		return nil, err
	}
	return &clientStream{ctx: ctx, st: st, desc: desc, o: o}, nil
}

// clientStream is as grpc.ClientStream says: one goroutine may send while another one receives.
type clientStream struct {
	ctx  context.Context
	st   *rpc.Stream[rpc.Raw, any]
	desc *grpc.StreamDesc
	o    options
}

func (s *clientStream) Header() (metadata.MD, error) {
	md, err := s.st.Header()
	return metadata.MD(md), toStatus(err)
}

func (s *clientStream) Trailer() metadata.MD { return metadata.MD(s.st.Trailer()) }

func (s *clientStream) Context() context.Context { return s.ctx }

func (s *clientStream) CloseSend() error {
	s.st.CloseSend() // what went wrong is what RecvMsg says
	return nil
}

// SendMsg returns io.EOF where the stream has ended; RecvMsg says how, as grpc.ClientStream has it.
func (s *clientStream) SendMsg(m any) error {
	if err := s.o.checkSend(m); err != nil {
		return err
	}
	err := s.st.Send(m)
	switch rpc.CodeOf(err) {
	case rpc.OK, rpc.InvalidArgument, rpc.ResourceExhausted, rpc.FailedPrecondition:
		return toStatus(err)
	}
	return io.EOF
}

func (s *clientStream) RecvMsg(m any) error {
	err := s.recv(m)
	if err == nil && s.desc.ServerStreams {
		return nil
	}
	if !s.desc.ServerStreams {
		err = s.only(err)
	}
	s.o.finishStream(s, err)
	return err
}

func (s *clientStream) recv(m any) error {
	raw, err := s.st.Recv()
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	if err != nil {
		return toStatus(err)
	}
	defer raw.Release()
	if err := raw.Decode(m); err != nil {
		s.st.Close()
		return status.Errorf(codes.Internal, "grpcpipe: the message can't be decoded: %v", err)
	}
	return nil
}

// only makes sure that the first message, which err is of, is the only one: a stream from the client has one response.
func (s *clientStream) only(err error) error {
	if err == io.EOF {
		return status.Error(codes.Internal, "grpcpipe: the stream has ended without its response")
	}
	if err != nil {
		return err
	}
	raw, err := s.st.Recv()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		raw.Release()
		s.st.Close()
		return status.Error(codes.Internal, "grpcpipe: a second response has come, where one was due")
	}
	return toStatus(err)
}

// options is what the grpc.CallOptions of a call ask for.
type options struct {
	header, trailer *metadata.MD
	peer            *peer.Peer
	p               *rpc.Peer
	maxSend         int // 0: no limit of its own
	creds           grpc.PerRPCCredsCallOption
	onFinish        []func(error)
}

func (c *clientConn) options(opts []grpc.CallOption) (o options, err error) {
	o.p = c.p
	for _, opt := range opts {
		switch opt := opt.(type) {
		case grpc.HeaderCallOption:
			o.header = opt.HeaderAddr
		case grpc.TrailerCallOption:
			o.trailer = opt.TrailerAddr
		case grpc.PeerCallOption:
			o.peer = opt.PeerAddr
		case grpc.OnFinishCallOption:
			o.onFinish = append(o.onFinish, opt.OnFinish)
		case grpc.MaxSendMsgSizeCallOption:
			o.maxSend = opt.MaxSendMsgSize
		case grpc.PerRPCCredsCallOption:
			o.creds = opt
		case grpc.CompressorCallOption:
			if opt.CompressorType != "" && opt.CompressorType != "identity" {
				return o, status.Errorf(codes.Unimplemented, "grpcpipe: nothing is compressed, nor by %q", opt.CompressorType)
			}
		case grpc.ContentSubtypeCallOption:
			if opt.ContentSubtype != "" && opt.ContentSubtype != "proto" {
				return o, status.Errorf(codes.Unimplemented, "grpcpipe: messages are encoded by Protobuf, not by %q", opt.ContentSubtype)
			}
		case grpc.ForceCodecCallOption, grpc.ForceCodecV2CallOption, grpc.CustomCodecCallOption:
			return o, status.Error(codes.Unimplemented, "grpcpipe: messages are encoded by Protobuf, and by no other codec")
		}
	}
	return o, nil
}

// outgoing is ctx with gRPC's metadata as rpc's.
func (o *options) outgoing(ctx context.Context, method string) (context.Context, error) {
	md, _ := metadata.FromOutgoingContext(ctx)
	if o.creds.Creds != nil {
		own, err := o.creds.Creds.GetRequestMetadata(ctx, "standpipe://local"+method)
		if err != nil {
			return ctx, status.Errorf(codes.Unauthenticated, "grpcpipe: the call's credentials: %v", err)
		}
		md = metadata.Join(metadata.New(own), md) // in the order that grpc-go has
	}
	if len(md) == 0 {
		return ctx, nil
	}
	return rpc.WithMetadata(ctx, carried(md)), nil
}

func (o *options) checkSend(m any) error {
	if o.maxSend == 0 {
		return nil
	}
	if m, ok := m.(proto.Message); ok {
		if n := proto.Size(m); n > o.maxSend {
			return status.Errorf(codes.ResourceExhausted, "grpcpipe: a message of %d bytes is above the limit of %d", n, o.maxSend)
		}
	}
	return nil
}

func (o *options) finish(err error) {
	if o.peer != nil {
		*o.peer = *peerOf(o.p)
	}
	for _, f := range o.onFinish {
		f(err)
	}
	o.onFinish = nil
}

func (o *options) finishStream(s *clientStream, err error) {
	if o.header != nil {
		if md, err := s.Header(); err == nil {
			*o.header = md
		}
	}
	if o.trailer != nil {
		*o.trailer = s.Trailer()
	}
	if err == io.EOF {
		err = nil
	}
	o.finish(err)
}
