package rpc_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

// start serves s under a name of its own, and dials it. stop ends both.
func start(s *rpc.Server, cfg *rpc.DialConfig) (p *rpc.Peer, stop func()) {
	name := freshName()
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, ln) }()
	if p, err = rpc.Dial(ctx, name, cfg); err != nil {
		log.Fatal(err)
	}
	return p, func() {
		p.Close()
		cancel()
		if err := <-served; err != nil {
			log.Fatal(err)
		}
	}
}

// A stream carries values both ways: here the running total of what was sent.
func ExampleOpen() {
	s := rpc.NewServer(nil)
	rpc.HandleStream(s, "total", func(ctx context.Context, st *rpc.Stream[int, int]) error {
		total := 0
		for n, err := range st.All() {
			if err != nil {
				return err
			}
			total += n
			if err := st.Send(total); err != nil {
				return err
			}
		}
		return nil // the caller has sent all; this ends the stream
	})
	p, stop := start(s, nil)
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // of the whole stream
	defer cancel()
	st, err := rpc.Open[int, int](ctx, p, "total")
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	for n := range 4 {
		if err := st.Send(n); err != nil {
			log.Fatal(err)
		}
	}
	if err := st.CloseSend(); err != nil {
		log.Fatal(err)
	}
	for {
		total, err := st.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(total)
	}
	// Output:
	// 0
	// 1
	// 3
	// 6
}

// Metadata travels beside the values: with the call, and back as header and trailer.
func ExampleWithMetadata() {
	s := rpc.NewServer(nil)
	rpc.Handle(s, "greet", func(ctx context.Context, name string) (string, error) {
		hello := "Hello"
		if lang := rpc.MetadataFrom(ctx)["lang"]; len(lang) > 0 && lang[0] == "fr" {
			hello = "Bonjour"
		}
		if err := rpc.SetTrailer(ctx, rpc.Metadata{"served-by": {"example"}}); err != nil {
			return "", err
		}
		return hello + ", " + name, nil
	})
	p, stop := start(s, nil)
	defer stop()

	var trailer rpc.Metadata
	ctx := rpc.WithMetadata(context.Background(), rpc.Metadata{"lang": {"fr"}})
	ctx = rpc.WithReply(ctx, nil, &trailer)
	text, err := rpc.Call[string](ctx, p, "greet", "Anne")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
	fmt.Println(trailer["served-by"])
	// Output:
	// Bonjour, Anne
	// [example]
}

// An interceptor runs around every call: around the handlers of a server, or around what a client calls.
func ExampleInterceptor() {
	logging := func(ctx context.Context, call *rpc.CallInfo, next func(context.Context) error) error {
		err := next(ctx)
		fmt.Println(call.Method, rpc.CodeOf(err))
		return err
	}
	s := rpc.NewServer(&rpc.ServerConfig{Wrap: []rpc.Interceptor{logging}})
	rpc.Handle(s, "half", func(ctx context.Context, n int) (int, error) {
		if n%2 != 0 {
			return 0, rpc.Errorf(rpc.InvalidArgument, "%d is odd", n)
		}
		return n / 2, nil
	})
	p, stop := start(s, nil)
	defer stop()

	for _, n := range []int{8, 3} {
		half, err := rpc.Call[int](context.Background(), p, "half", n)
		fmt.Println(half, err)
	}
	// Output:
	// half OK
	// 4 <nil>
	// half InvalidArgument
	// 0 InvalidArgument: 3 is odd
}

// A method may be for fewer users than the endpoint is.
func ExampleServer_Require() {
	s := rpc.NewServer(nil)
	rpc.Handle(s, "status", func(context.Context, struct{}) (string, error) { return "running", nil })
	rpc.Handle(s, "shutdown", func(context.Context, struct{}) (string, error) { return "bye", nil })
	s.Require("shutdown", standpipe.Group("operators"))
	p, stop := start(s, nil)
	defer stop()

	for _, method := range []string{"status", "shutdown"} {
		text, err := rpc.Call[string](context.Background(), p, method, struct{}{})
		fmt.Printf("%s: %q, %v\n", method, text, rpc.CodeOf(err))
	}
	// Output:
	// status: "running", OK
	// shutdown: "", PermissionDenied
}

// A client can ask what there is to call, and of which types.
func ExampleDescribe() {
	type file struct {
		Path string `json:"path"`
		Size int64  `json:"size"`
	}
	s := rpc.NewServer(nil)
	rpc.Handle(s, "stat", func(ctx context.Context, path string) (file, error) { return file{Path: path}, nil })
	rpc.HandleStream(s, "read", func(ctx context.Context, st *rpc.Stream[string, []byte]) error { return nil })
	s.Doc("stat", "how large a file is")
	s.Doc("read", "the contents of files")
	p, stop := start(s, nil)
	defer stop()

	d, err := rpc.Describe(context.Background(), p)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range d.Methods {
		fmt.Println(m.Name, m.Kind, m.Doc)
		fmt.Println("  in ", string(m.In))
		fmt.Println("  out", string(m.Out))
	}
	// Output:
	// read stream the contents of files
	//   in  {"type":"string"}
	//   out {"contentEncoding":"base64","type":["string","null"]}
	// stat unary how large a file is
	//   in  {"type":"string"}
	//   out {"additionalProperties":false,"properties":{"path":{"type":"string"},"size":{"type":"integer"}},"type":"object"}
}
