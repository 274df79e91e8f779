// Package grpcpipe runs code that protoc-gen-go-grpc generated, unchanged, over standpipe's rpc: without HTTP/2, at a fraction of its
// cost on one machine, and with each side knowing which user of the system the other one is.
//
//	s := rpc.NewServer(nil)
//	pb.RegisterGreeterServer(grpcpipe.NewRegistrar(s), &greeter{})
//	err = s.Serve(ctx, ln)
//
//	p, err := rpc.Dial(ctx, "greeter", nil)
//	client := pb.NewGreeterClient(grpcpipe.NewClientConn(p))
//	reply, err := client.Hello(ctx, &pb.HelloRequest{})
//
// Unary calls and all kinds of streams, metadata both ways, headers and trailers, status codes with details, deadlines and
// cancelling are there. In a handler, peer.FromContext has an [AuthInfo]. Metadata that belongs to HTTP/2 or to gRPC itself
// (":authority", "content-type", "user-agent", "te", "grpc-...") does not travel. Compression and other encodings than Protobuf do
// not exist: a call option that asks for them fails with Unimplemented. Options that have no meaning on a local connection, such as WaitForReady, are
// taken and do nothing. The limits of messages are those of the rpc connection. gRPC's interceptors belong to grpc.ClientConn and grpc.Server, and
// stats handlers too: rpc.Interceptor takes their place.
//
// Who needs all of gRPC runs grpc-go itself over standpipe's connections: [NewCredentials] carries the identity then.
package grpcpipe
