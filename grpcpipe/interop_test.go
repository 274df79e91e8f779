package grpcpipe_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/grpcpipe"
	"github.com/standpipe/standpipe/pipetest"
	"github.com/standpipe/standpipe/rpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// way is one of the two ways in which gRPC's generated code runs over standpipe.
type way struct {
	name string
	// start serves what register registers, and connects to it.
	start func(t *testing.T, register func(grpc.ServiceRegistrar)) grpc.ClientConnInterface
}

var ways = []way{{"rpc", overRPC}, {"grpc-go", overGRPC}}

// overRPC: generated code over package rpc.
func overRPC(t *testing.T, register func(grpc.ServiceRegistrar)) grpc.ClientConnInterface {
	s := rpc.NewServer(&rpc.ServerConfig{Log: slog.New(slog.DiscardHandler)})
	register(grpcpipe.NewRegistrar(s))
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	p, err := rpc.Dial(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); <-p.Done() })
	return grpcpipe.NewClientConn(p)
}

// overGRPC: grpc-go itself over standpipe's connections.
func overGRPC(t *testing.T, register func(grpc.ServiceRegistrar)) grpc.ClientConnInterface {
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(grpcpipe.NewCredentials()))
	register(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	c, err := grpc.NewClient("passthrough:///"+name, grpc.WithTransportCredentials(grpcpipe.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, name string) (net.Conn, error) { return standpipe.Dial(ctx, name, nil) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// gRPC's own interoperability cases (https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md): those that are not
// about HTTP/2, TLS, compression, or Google's accounts. They end the process where they fail.
func TestInterop(t *testing.T) {
	cases := map[string]func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption){
		"empty_unary":                 interop.DoEmptyUnaryCall,
		"large_unary":                 interop.DoLargeUnaryCall,
		"client_streaming":            interop.DoClientStreaming,
		"server_streaming":            interop.DoServerStreaming,
		"ping_pong":                   interop.DoPingPong,
		"empty_stream":                interop.DoEmptyStream,
		"timeout_on_sleeping_server":  interop.DoTimeoutOnSleepingServer,
		"cancel_after_begin":          interop.DoCancelAfterBegin,
		"cancel_after_first_response": interop.DoCancelAfterFirstResponse,
		"custom_metadata":             interop.DoCustomMetadata,
		"status_code_and_message":     interop.DoStatusCodeAndMessage,
		"special_status_message":      interop.DoSpecialStatusMessage,
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			c := w.start(t, func(r grpc.ServiceRegistrar) { testgrpc.RegisterTestServiceServer(r, interop.NewTestServer()) })
			for name, do := range cases {
				t.Run(name, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					defer cancel()
					do(ctx, testgrpc.NewTestServiceClient(c))
				})
			}
			t.Run("unimplemented_service", func(t *testing.T) {
				interop.DoUnimplementedService(t.Context(), testgrpc.NewUnimplementedServiceClient(c))
			})
		})
	}
}
