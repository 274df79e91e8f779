package grpcpipe_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/grpcpipe"
	"github.com/standpipe/standpipe/rpc"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// self is who runs the test.
func self(t *testing.T) string {
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	return a.Identity().User
}

// service answers in ways that gRPC's own test service does not.
type service struct {
	testgrpc.UnimplementedTestServiceServer
	t *testing.T
}

func (s *service) EmptyCall(ctx context.Context, _ *testgrpc.Empty) (*testgrpc.Empty, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, status.Error(codes.Unauthenticated, "no peer")
	}
	info, ok := p.AuthInfo.(grpcpipe.AuthInfo)
	if !ok || info.Identity.User != self(s.t) || info.AuthType() != "standpipe" {
		return nil, status.Errorf(codes.Unauthenticated, "the peer is %+v", p.AuthInfo)
	}
	if m, ok := grpc.Method(ctx); !ok || m != "/grpc.testing.TestService/EmptyCall" {
		return nil, status.Errorf(codes.Internal, "the method is %q", m)
	}
	return &testgrpc.Empty{}, nil
}

// UnaryCall fails with details, and with a trailer; with a response size, it echoes metadata.
func (s *service) UnaryCall(ctx context.Context, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if in.ResponseSize > 0 {
		grpc.SetHeader(ctx, metadata.MD{"got": md["token"], "bad": md["user-agent"]})
		return &testgrpc.SimpleResponse{Username: strings.Join(md["token"], ",")}, nil
	}
	grpc.SetTrailer(ctx, metadata.Pairs("why", "because"))
	st, err := status.New(codes.FailedPrecondition, "näh").WithDetails(&errdetails.ErrorInfo{Reason: "test", Domain: "standpipe"})
	if err != nil {
		return nil, err
	}
	return nil, st.Err()
}

// StreamingInputCall answers twice, which the generated code does not let a server do by mistake.
func (s *service) StreamingInputCall(st testgrpc.TestService_StreamingInputCallServer) error {
	for {
		if _, err := st.Recv(); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	for range 2 {
		if err := st.SendMsg(&testgrpc.StreamingInputCallResponse{}); err != nil {
			return err
		}
	}
	return nil
}

func (s *service) HalfDuplexCall(testgrpc.TestService_HalfDuplexCallServer) error {
	return errors.New("a plain error")
}

func (s *service) StreamingOutputCall(_ *testgrpc.StreamingOutputCallRequest, st testgrpc.TestService_StreamingOutputCallServer) error {
	<-st.Context().Done()
	return st.Context().Err()
}

func TestErrorsAndPeers(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			c := testgrpc.NewTestServiceClient(w.start(t, func(r grpc.ServiceRegistrar) { testgrpc.RegisterTestServiceServer(r, &service{t: t}) }))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var p peer.Peer
			if _, err := c.EmptyCall(ctx, &testgrpc.Empty{}, grpc.Peer(&p)); err != nil {
				t.Fatal(err)
			}
			if info, ok := p.AuthInfo.(grpcpipe.AuthInfo); !ok || info.Identity.User != self(t) {
				t.Errorf("the server is %+v", p.AuthInfo)
			}
			var trailer metadata.MD
			_, err := c.UnaryCall(ctx, &testgrpc.SimpleRequest{}, grpc.Trailer(&trailer))
			st, _ := status.FromError(err)
			if st.Code() != codes.FailedPrecondition || st.Message() != "näh" || len(st.Details()) != 1 {
				t.Fatalf("the error is %v with %v", err, st.Details())
			}
			if info, ok := st.Details()[0].(*errdetails.ErrorInfo); !ok || info.Reason != "test" || trailer.Get("why")[0] != "because" {
				t.Errorf("details %v, trailer %v", st.Details(), trailer)
			}
			in, err := c.StreamingInputCall(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := in.CloseAndRecv(); status.Code(err) != codes.Internal {
				t.Errorf("two responses where one is due: %v", err)
			}
			half, err := c.HalfDuplexCall(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := half.Recv(); status.Code(err) != codes.Unknown || status.Convert(err).Message() != "a plain error" {
				t.Errorf("a plain error became %v", err)
			}
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			out, err := c.StreamingOutputCall(short, &testgrpc.StreamingOutputCallRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := out.Recv(); status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("a stream whose time was up: %v", err)
			}
		})
	}
}

type token struct{ err error }

func (c token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"token": "mine"}, c.err
}

func (token) RequireTransportSecurity() bool { return true }

func TestCallOptions(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			c := testgrpc.NewTestServiceClient(w.start(t, func(r grpc.ServiceRegistrar) { testgrpc.RegisterTestServiceServer(r, &service{t: t}) }))
			ctx := metadata.AppendToOutgoingContext(t.Context(), "token", "first", "x-bin", "\x00\xff")
			var header metadata.MD
			var finished []error
			r, err := c.UnaryCall(ctx, &testgrpc.SimpleRequest{ResponseSize: 1}, grpc.Header(&header), grpc.PerRPCCredentials(token{}),
				grpc.OnFinish(func(err error) { finished = append(finished, err) }), grpc.WaitForReady(true))
			if err != nil || r.Username != "mine,first" || strings.Join(header["got"], ",") != "mine,first" {
				t.Fatalf("%v, header %v, %v", r, header, err)
			}
			if len(finished) != 1 || finished[0] != nil {
				t.Errorf("OnFinish was told %v", finished)
			}
			if _, err := c.UnaryCall(ctx, &testgrpc.SimpleRequest{Payload: &testgrpc.Payload{Body: make([]byte, 100)}}, grpc.MaxCallSendMsgSize(50)); status.Code(err) != codes.ResourceExhausted {
				t.Errorf("a message above MaxCallSendMsgSize: %v", err)
			}
			bad := token{status.Error(codes.Unauthenticated, "no token")}
			if _, err := c.UnaryCall(ctx, &testgrpc.SimpleRequest{}, grpc.PerRPCCredentials(bad)); status.Code(err) != codes.Unauthenticated {
				t.Errorf("credentials that fail: %v", err)
			}
		})
	}
	c := testgrpc.NewTestServiceClient(overRPC(t, func(grpc.ServiceRegistrar) {}))
	for name, opt := range map[string]grpc.CallOption{"compressor": grpc.UseCompressor("gzip"), "subtype": grpc.CallContentSubtype("json")} {
		if _, err := c.EmptyCall(t.Context(), &testgrpc.Empty{}, opt); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "grpcpipe") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.FullDuplexCall(t.Context(), opt); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s, a stream: %v", name, err)
		}
	}
}

// Without standpipe's connection there is nobody to vouch for.
func TestCredentialsElsewhere(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	creds := grpcpipe.NewCredentials()
	if _, _, err := creds.ClientHandshake(t.Context(), "", a); err == nil {
		t.Error("a client took a foreign connection")
	}
	if _, _, err := creds.Clone().ServerHandshake(b); err == nil {
		t.Error("a server took a foreign connection")
	}
	if creds.Info().SecurityProtocol != "standpipe" {
		t.Error(creds.Info())
	}
}

// The services are methods like others: rpc's own callers reach them, by Protobuf and by JSON.
func TestPlainCaller(t *testing.T) {
	s := rpc.NewServer(nil)
	testgrpc.RegisterTestServiceServer(grpcpipe.NewRegistrar(s), interop.NewTestServer())
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, &one{c: b, done: make(chan struct{})}) }()
	p := rpc.NewPeer(a, nil)
	defer func() {
		p.Close()
		cancel()
		<-served
	}()
	in := &testgrpc.SimpleRequest{ResponseSize: 3}
	out, err := rpc.Call[*testgrpc.SimpleResponse](ctx, p, "/grpc.testing.TestService/UnaryCall", in)
	if err != nil || len(out.Payload.Body) != 3 {
		t.Fatalf("%v, %v", out, err)
	}
	var raw rpc.Raw
	if err := p.Call(ctx, "/grpc.testing.TestService/UnaryCall", rpc.Raw{Codec: rpc.JSON, Data: []byte(`{"responseSize": 3}`)}, &raw); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw.Data), `"AAAA"`) || raw.Codec != rpc.JSON {
		t.Fatalf("JSON brought %s", raw.Data)
	}
	if err := p.Call(ctx, "/grpc.testing.TestService/UnaryCall", map[string]int{"responseSize": 3}, &raw); rpc.CodeOf(err) != rpc.Internal {
		t.Fatalf("MessagePack for a Protobuf method: %v", err)
	}
	if !proto.Equal(in, &testgrpc.SimpleRequest{ResponseSize: 3}) {
		t.Error("the argument was changed")
	}
}

// one is a listener of one connection.
type one struct {
	c    net.Conn
	done chan struct{}
}

func (l *one) Accept() (net.Conn, error) {
	if c := l.c; c != nil {
		l.c = nil
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *one) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *one) Addr() net.Addr { return nil }

func TestRegisterPanics(t *testing.T) {
	r := grpcpipe.NewRegistrar(rpc.NewServer(nil))
	testgrpc.RegisterTestServiceServer(r, interop.NewTestServer())
	for name, f := range map[string]func(){
		"twice":      func() { testgrpc.RegisterTestServiceServer(r, interop.NewTestServer()) },
		"wrong type": func() { r.RegisterService(&testgrpc.TestService_ServiceDesc, 7) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
