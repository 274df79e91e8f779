// Command peer is the other side, in Go, of what is measured with Python: see ../run.py.
//
//	peer serve standpipe NAME | serve grpc PATH     echo bytes, and take arrays; prints ready
//	peer call NAME SECONDS SIZE                     call echo of a standpipe server; prints the median in seconds
package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/rpc"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 3 && args[0] == "serve" {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
		if args[1] == "grpc" {
			return serveGRPC(args[2])
		}
		return serve(args[2])
	}
	if len(args) == 4 && args[0] == "call" {
		seconds, err := strconv.ParseFloat(args[2], 64)
		if err != nil {
			return err
		}
		size, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		return call(args[1], time.Duration(seconds*float64(time.Second)), size)
	}
	return fmt.Errorf("usage: peer serve standpipe|grpc WHERE | call NAME SECONDS SIZE")
}

// touched is the sum of one byte of each cache line.
func touched(p []byte) (sum uint64) {
	for i := 0; i < len(p); i += 64 {
		sum += uint64(p[i])
	}
	return sum
}

type array struct {
	Data msg.Buffer `json:"data"`
}

func serve(name string) error {
	s := rpc.NewServer(nil)
	rpc.Handle(s, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	rpc.Handle(s, "take", func(_ context.Context, a array) (uint64, error) { return touched(a.Data.Bytes()), nil })
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return s.Serve(context.Background(), ln)
}

func serveGRPC(path string) error {
	ln, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	const window = 16 << 20
	s := grpc.NewServer(grpc.MaxRecvMsgSize(math.MaxInt32), grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(window))
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "Bench", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		{MethodName: "Echo", Handler: handler(func(b []byte) any { return wrapperspb.Bytes(b) })},
		{MethodName: "Take", Handler: handler(func(b []byte) any { return wrapperspb.UInt64(touched(b)) })},
	}}, nil)
	fmt.Println("ready")
	return s.Serve(ln)
}

func handler(f func([]byte) any) func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
	return func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		m := new(wrapperspb.BytesValue)
		if err := decode(m); err != nil {
			return nil, err
		}
		return f(m.Value), nil
	}
}

// call prints the median of calls of echo, one after the other.
func call(name string, length time.Duration, size int) error {
	ctx := context.Background()
	p, err := rpc.Dial(ctx, name, &rpc.DialConfig{Wait: true})
	if err != nil {
		return err
	}
	defer p.Close()
	message := make([]byte, size)
	var took []time.Duration
	for begin := time.Now(); time.Since(begin) < length; {
		start := time.Now()
		if _, err := rpc.Call[[]byte](ctx, p, "echo", message); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	took = took[len(took)/5:] // the first ones warm up
	slices.Sort(took)
	fmt.Println(took[len(took)/2].Seconds())
	return nil
}
