package grpcpipe_test

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/grpcpipe"
	"github.com/standpipe/standpipe/rpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	pb "google.golang.org/grpc/interop/grpc_testing"
)

// Code that protoc-gen-go-grpc generated runs over package rpc.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	name := fmt.Sprint("grpcpipe-example-", os.Getpid())
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s := rpc.NewServer(nil)
	pb.RegisterTestServiceServer(grpcpipe.NewRegistrar(s), interop.NewTestServer())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, ln) }()
	defer func() { cancel(); <-done }()

	p, err := rpc.Dial(ctx, name, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	client := pb.NewTestServiceClient(grpcpipe.NewClientConn(p))
	reply, err := client.UnaryCall(ctx, &pb.SimpleRequest{ResponseSize: 5})
	fmt.Println(len(reply.GetPayload().GetBody()), err)
	// Output: 5 <nil>
}

// grpc-go itself runs over standpipe's connections, and knows who is there.
func ExampleNewCredentials() {
	name := fmt.Sprint("grpcpipe-credentials-", os.Getpid())
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s := grpc.NewServer(grpc.Creds(grpcpipe.NewCredentials()))
	pb.RegisterTestServiceServer(s, interop.NewTestServer())
	go s.Serve(ln)
	defer s.Stop()

	conn, err := grpc.NewClient("passthrough:///"+name, grpc.WithTransportCredentials(grpcpipe.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, name string) (net.Conn, error) { return standpipe.Dial(ctx, name, nil) }))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	_, err = pb.NewTestServiceClient(conn).EmptyCall(context.Background(), &pb.Empty{})
	fmt.Println(err)
	// Output: <nil>
}
