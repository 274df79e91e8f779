package rpc_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

// A wire is an end of a connection that is played by hand, frame by frame. spec/wire.md has the numbers.
type wire struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

const (
	wireOpen   = 1
	wireData   = 2
	wireClose  = 3
	wireDrain  = 5
	wirePing   = 6
	wirePong   = 7
	wireValue  = 0x01
	wireMeta   = 0x04
	wireStream = 0x10
)

// newWire has said its hello, and read the other side's.
func newWire(t *testing.T, c net.Conn) *wire {
	t.Helper()
	w := &wire{t, c, bufio.NewReader(c)}
	if _, err := io.WriteString(c, rawHello); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := w.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\n" {
			return w
		}
	}
}

// wired is a Peer whose other side is the wire that it returns.
func wired(t *testing.T, cfg *rpc.DialConfig) (*rpc.Peer, *wire) {
	t.Helper()
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := rpc.NewPeer(a, cfg)
	t.Cleanup(func() { b.Close(); p.Close(); <-p.Done() })
	return p, newWire(t, b)
}

// wireFrame is an rpc frame: what begins each message.
type wireFrame struct {
	stream     uint32
	typ, flags uint8
	at6        uint16
	rest       []byte
}

func (w *wire) recv() (wireFrame, error) {
	head := make([]byte, 16)
	if _, err := io.ReadFull(w.r, head); err != nil {
		return wireFrame{}, err
	}
	f := wireFrame{binary.LittleEndian.Uint32(head[8:]), head[12], head[13], binary.LittleEndian.Uint16(head[14:]), nil}
	f.rest = make([]byte, binary.LittleEndian.Uint32(head)-8)
	_, err := io.ReadFull(w.r, f.rest)
	return f, err
}

// next is the next frame of that type.
func (w *wire) next(typ uint8) wireFrame {
	w.t.Helper()
	for {
		f, err := w.recv()
		if err != nil {
			w.t.Errorf("no frame of type %d: %v", typ, err) // it may run beside the test
			return f
		}
		if f.typ == typ {
			return f
		}
	}
}

func (w *wire) send(f wireFrame) {
	b := binary.LittleEndian.AppendUint32(nil, uint32(8+len(f.rest)))
	b = append(b, 1, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, f.stream)
	b = append(b, f.typ, f.flags, uint8(f.at6), uint8(f.at6>>8))
	if _, err := w.c.Write(append(b, f.rest...)); err != nil {
		w.t.Error(err)
	}
}

// oneListener hands out the connections that it is given.
type oneListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *oneListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *oneListener) Addr() net.Addr { return &net.UnixAddr{Name: "one", Net: "unix"} }

// serving is a server that serves connections without a name, until end is called.
type serving struct {
	ln     *oneListener
	end    context.CancelFunc
	served chan struct{} // Serve has returned
}

func startServing(t testing.TB, s *rpc.Server) *serving {
	ctx, cancel := context.WithCancel(context.Background())
	sv := &serving{&oneListener{conns: make(chan net.Conn), closed: make(chan struct{})}, cancel, make(chan struct{})}
	go func() {
		defer close(sv.served)
		if err := s.Serve(ctx, sv.ln); err != nil {
			t.Errorf("Serve: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-sv.served
	})
	return sv
}

// conn is the dialing end of a new connection.
func (sv *serving) conn(t testing.TB) net.Conn {
	t.Helper()
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	sv.ln.conns <- b
	return a
}

func (sv *serving) dial(t testing.TB, cfg *rpc.DialConfig) *rpc.Peer {
	t.Helper()
	p := rpc.NewPeer(sv.conn(t), cfg)
	t.Cleanup(func() { p.Close(); <-p.Done() })
	return p
}

// countingConn counts what is written.
type countingConn struct {
	net.Conn
	writes atomic.Int64
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// until waits for what a bounded number of looks will see.
func until(t *testing.T, what string, seen func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !seen(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// A side that says hello and then nothing is given up: the calls and streams that wait for it end, and say why.
func TestKeepaliveGivesUp(t *testing.T) {
	const interval = 100 * time.Millisecond
	for _, reads := range []bool{true, false} {
		p, w := wired(t, &rpc.DialConfig{Keepalive: interval, Log: quiet})
		pinged := make(chan struct{})
		if reads { // it reads, and does not answer
			go func() {
				defer close(pinged)
				w.next(wirePing)
				io.Copy(io.Discard, w.r)
			}()
		} else {
			close(pinged)
		}
		start := time.Now()
		st, err := rpc.Open[int, int](bounded(t), p, "stream")
		if err != nil {
			t.Fatal(err)
		}
		_, err = rpc.Call[int](bounded(t), p, "call", 1)
		if rpc.CodeOf(err) != rpc.Unavailable {
			t.Errorf("the call that waited: %v", err)
		}
		// What the machine is late by is not the peer's: the most is generous, the least is exact.
		if d := time.Since(start); d < interval || d > 3*interval+2*time.Second {
			t.Errorf("given up after %v", d)
		}
		if !strings.Contains(err.Error(), "silent") {
			t.Errorf("the error does not say why: %v", err)
		}
		if _, err := st.Recv(); rpc.CodeOf(err) != rpc.Unavailable {
			t.Errorf("the stream that waited: %v", err)
		}
		<-p.Done()
		if err := p.Err(); err == nil || !strings.Contains(err.Error(), "silent") {
			t.Errorf("Err: %v", err)
		}
		<-pinged
	}
}

// A server gives up, too; and the contexts of the handlers of that peer end.
func TestKeepaliveOfServer(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Keepalive: 50 * time.Millisecond, Log: quiet})
	ended := make(chan error, 1)
	rpc.Handle(s, "hang", func(ctx context.Context, _ rpc.Raw) (int, error) {
		<-ctx.Done()
		ended <- rpc.PeerFrom(ctx).Err()
		return 0, ctx.Err()
	})
	w := newWire(t, startServing(t, s).conn(t))
	w.send(wireFrame{1, wireOpen, wireValue, 4 << 8, []byte("hang\x01")})
	w.next(wirePing)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "silent") {
		t.Errorf("the peer's end: %v", err)
	}
}

// Who answers pings lives, though it says nothing else.
func TestKeepaliveAnswered(t *testing.T) {
	p, w := wired(t, &rpc.DialConfig{Keepalive: 100 * time.Millisecond})
	for range 8 {
		w.next(wirePing)
		w.send(wireFrame{typ: wirePong})
	}
	go func() {
		f := w.next(wireOpen)
		w.send(wireFrame{f.stream, wireClose, wireValue, 0, []byte{7}})
	}()
	if n, err := rpc.Call[int](bounded(t), p, "m", 1); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// Two healthy ends that both look after each other live, idle or busy, whether the one who should answer runs handlers or waits.
func TestKeepaliveHealthy(t *testing.T) {
	const interval = 100 * time.Millisecond
	s := rpc.NewServer(&rpc.ServerConfig{Keepalive: interval, Log: quiet})
	rpc.Handle(s, "echo", func(_ context.Context, n int) (int, error) { return n, nil })
	release := make(chan struct{})
	rpc.Handle(s, "hold", func(context.Context, int) (int, error) { <-release; return 0, nil })
	sv := startServing(t, s)
	c := &countingConn{Conn: sv.conn(t)}
	p := rpc.NewPeer(c, &rpc.DialConfig{Keepalive: interval, Log: quiet})
	defer func() { p.Close(); <-p.Done() }()
	call := func() {
		t.Helper()
		if n, err := rpc.Call[int](bounded(t), p, "echo", 3); n != 3 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	for range 20 { // from now on it runs in the goroutine that reads
		call()
	}
	quietFor := func(what string) {
		t.Helper()
		before := c.writes.Load()
		until(t, what, func() bool { return c.writes.Load() >= before+8 || p.Err() != nil })
		call()
	}
	quietFor("pings of an idle connection")
	held := make(chan error, 1)
	go func() { _, err := rpc.Call[int](context.Background(), p, "hold", 1); held <- err }()
	quietFor("pings while a call waits")
	close(release)
	if err := <-held; err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(8 * interval); time.Now().Before(end); {
		call()
	}
}

// When Serve ends, a call and a stream that run go on to their ends, and what is begun then fails at once.
func TestDrainStreams(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, Drain: 20 * time.Second})
	running, finish := make(chan struct{}, 2), make(chan struct{})
	rpc.Handle(s, "slow", func(context.Context, int) (int, error) {
		running <- struct{}{}
		<-finish
		return 7, nil
	})
	rpc.HandleStream(s, "echo", func(_ context.Context, st *rpc.Stream[[]byte, []byte]) error {
		running <- struct{}{}
		for b, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send(b); err != nil {
				return err
			}
		}
		return nil
	})
	sv := startServing(t, s)
	p := sv.dial(t, nil)
	st, err := rpc.Open[[]byte, []byte](bounded(t), p, "echo")
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		n, err := rpc.Call[int](bounded(t), p, "slow", 1)
		if err == nil && n != 7 {
			err = errors.New("another result")
		}
		result <- err
	}()
	<-running
	<-running
	select {
	case <-p.Draining():
		t.Fatal("it drains before its end")
	default:
	}
	sv.end()
	<-p.Draining()
	if _, err := rpc.Call[int](bounded(t), p, "slow", 1); rpc.CodeOf(err) != rpc.Unavailable {
		t.Errorf("a call: %v", err)
	}
	if _, err := rpc.Open[int, int](bounded(t), p, "echo"); rpc.CodeOf(err) != rpc.Unavailable {
		t.Errorf("a stream: %v", err)
	}
	for n := range 50 { // more than a window of it
		b := bytes.Repeat([]byte{byte(n)}, 20<<10)
		if err := st.Send(b); err != nil {
			t.Fatal(err)
		}
		if got, err := st.Recv(); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	select {
	case <-sv.served:
		t.Fatal("Serve returned before its handlers")
	default:
	}
	close(finish)
	if err := <-result; err != nil {
		t.Errorf("the call that ran: %v", err)
	}
	if err := st.CloseSend(); err != nil {
		t.Error(err)
	}
	if _, err := st.Recv(); err != io.EOF {
		t.Errorf("the stream that ran: %v", err)
	}
	<-sv.served
	<-p.Done()
}

// Who drains answers an open that crosses, and callers who wait for their turn are let go.
func TestDrainCrossed(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	finish, running := make(chan struct{}), make(chan struct{}, 1)
	rpc.Handle(s, "slow", func(context.Context, rpc.Raw) (int, error) { running <- struct{}{}; <-finish; return 7, nil })
	sv := startServing(t, s)
	w := newWire(t, sv.conn(t))
	w.send(wireFrame{1, wireOpen, wireValue, 4 << 8, []byte("slow\x01")})
	<-running
	sv.end()
	w.next(wireDrain)
	w.send(wireFrame{3, wireOpen, wireValue, 4 << 8, []byte("slow\x01")})
	w.send(wireFrame{5, wireOpen, wireStream, 4 << 8, []byte("slow")})
	crossed := map[uint32]uint16{}
	for range 2 {
		f := w.next(wireClose)
		crossed[f.stream] = f.at6
	}
	for _, n := range []uint32{3, 5} {
		if code, ok := crossed[n]; !ok || rpc.Code(code) != rpc.Unavailable {
			t.Errorf("stream %d, which crossed: %v", n, rpc.Code(code))
		}
	}
	close(finish)
	if f := w.next(wireClose); f.stream != 1 || f.at6 != 0 || !bytes.Equal(f.rest, []byte{7}) {
		t.Errorf("the call that ran: %+v", f)
	}
}

func TestDrainWaiters(t *testing.T) {
	p, w := wired(t, nil)
	var opened []wireFrame
	errs := make(chan error, 1100)
	for range 1024 { // as many as rawHello allows
		if _, err := rpc.Open[int, int](bounded(t), p, "s"); err != nil {
			t.Fatal(err)
		}
		opened = append(opened, w.next(wireOpen))
	}
	for range 10 { // they begin to wait, or come too late to: it is the same
		go func() { _, err := rpc.Open[int, int](bounded(t), p, "s"); errs <- err }()
		go func() { _, err := rpc.Call[int](bounded(t), p, "c", 1); errs <- err }()
	}
	w.send(wireFrame{typ: wireDrain})
	w.send(wireFrame{typ: wireDrain}) // a second one is ignored
	for range 20 {
		if err := <-errs; rpc.CodeOf(err) != rpc.Unavailable {
			t.Errorf("one that waits for its turn: %v", err)
		}
	}
	for _, f := range opened {
		w.send(wireFrame{f.stream, wireClose, 0, 0, nil})
	}
	<-p.Draining()
}
