package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// benchWay is one way for two processes of one machine to exchange messages.
type benchWay struct {
	name  string // what --only takes
	label string
	note  string // how it is used here
	calls bool   // it has calls; the others carry bytes only
	own   bool   // it is ours
	most  int    // bytes of the largest message; 0: any
	addr  string // where its server is, if that runs already

	// serve runs the server until ctx ends. It calls ready once clients can connect. nil: the server is there already, or it is missing.
	serve func(ctx context.Context, name string, ready func(addr string)) error
	dial  func(ctx context.Context, addr string) (benchClient, error)
}

// benchClient is the client's end. One goroutine uses it.
type benchClient interface {
	// echo sends a message and returns the one that came back, which is valid until the next call.
	echo(ctx context.Context, msg []byte) ([]byte, error)
	// send sends a message n times, one way, and returns when the server has read all of them.
	send(ctx context.Context, msg []byte, n int) error
	close() error
}

// benchCPUAsker is a client whose server is no child of ours, but tells itself what processor time it has used.
type benchCPUAsker interface {
	serverCPU(ctx context.Context) (time.Duration, error)
}

func benchWays() []*benchWay {
	return []*benchWay{
		{name: "call", label: "standpipe call", calls: true, own: true,
			note:  "typed calls, MessagePack; over the ring in shared memory where the system has it; one way: a stream",
			serve: serveBenchCalls, dial: dialBenchCall},
		{name: "buffer", label: "standpipe Buffer", calls: true, own: true,
			note:  "calls that carry a Buffer each way, which is filled by a copy and read in place; messages below 16 KiB travel as bytes",
			serve: serveBenchCalls, dial: dialBenchBuffer},
		{name: "bare", label: bareText, note: "plain writes and reads, no frames: the floor", serve: serveBenchBare, dial: benchDialBytes(bareDial)},
		{name: "tcp", label: "TCP on loopback", note: "plain writes and reads, no frames", serve: serveBenchTCP, dial: benchDialBytes(benchDialTCP)},
		{name: "udp", label: "UDP on loopback", most: benchDatagram,
			note:  "a datagram each; who loses one waits and sends it again; one way: 64 KiB ahead of an acknowledgement at most",
			serve: serveBenchUDP, dial: dialBenchUDP},
		{name: "http", label: "HTTP/1.1 on loopback", calls: true, note: "net/http, keep-alive, POST; one way: with an empty answer",
			serve: serveBenchHTTP, dial: dialBenchHTTP},
		{name: "grpc", label: "gRPC on loopback", calls: true, note: "grpc-go, BytesValue, without TLS; one way: a client's stream",
			serve: serveBenchGRPC, dial: dialBenchGRPC},
		{name: "redis", label: "Redis on loopback", calls: true, most: 512 << 20,
			note: "redigo, ECHO; one way: PUBLISH, which nobody receives, in batches. Nothing is stored",
			dial: dialBenchRedis},
	}
}

func findBenchWay(name string) *benchWay {
	for _, w := range benchWays() {
		if w.name == name {
			return w
		}
	}
	return nil
}

// chooseBenchWays are those that are named in only; "": all.
func chooseBenchWays(only string) ([]*benchWay, error) {
	all := benchWays()
	if only == "" {
		return all, nil
	}
	var names []string
	for _, w := range all {
		names = append(names, w.name)
	}
	var wanted []string
	for name := range strings.SplitSeq(only, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(names, name) {
			return nil, usagef("--only: there is no way %q%s; the ways are %s", name, suggest(name, names), strings.Join(names, ", "))
		}
		wanted = append(wanted, name)
	}
	return slices.DeleteFunc(all, func(w *benchWay) bool { return !slices.Contains(wanted, w.name) }), nil
}

// Whoever reads a byte of each cache line has had all of them, and that is the least that a receiver does.
func benchTouch(b []byte) uint64 { return sumLines(b, 0) }

// benchListenTCP listens on a free port of the loopback interface.
func benchListenTCP() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

func benchDialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// benchClosing closes what blocks when ctx ends.
func benchClosing(ctx context.Context, c io.Closer) (stop func() bool) {
	return context.AfterFunc(ctx, func() { c.Close() })
}

// benchGrown is a slice of n bytes, in b's memory where that has the room.
func benchGrown(b []byte, n int) []byte { return slices.Grow(b[:0], n)[:n] }

func benchShort(got, want int) error { return fmt.Errorf("%d bytes answer %d", got, want) }
