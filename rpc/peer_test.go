package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/rpc"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// serve serves s on every kind of listener, and gives test a Peer that dials it.
func serve(t *testing.T, s *rpc.Server, test func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer)) {
	listeners := map[string]func(t *testing.T) (net.Listener, func(cfg *rpc.DialConfig) (*rpc.Peer, error)){
		"endpoint": func(t *testing.T) (net.Listener, func(cfg *rpc.DialConfig) (*rpc.Peer, error)) {
			name := freshName()
			ln, err := standpipe.Listen(name, nil)
			if err != nil {
				t.Fatal(err)
			}
			return ln, func(cfg *rpc.DialConfig) (*rpc.Peer, error) { return rpc.Dial(bounded(t), name, cfg) }
		},
		"tcp": func(t *testing.T) (net.Listener, func(cfg *rpc.DialConfig) (*rpc.Peer, error)) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			return ln, func(cfg *rpc.DialConfig) (*rpc.Peer, error) {
				c, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					return nil, err
				}
				return rpc.NewPeer(c, cfg), nil
			}
		},
	}
	for name, mk := range listeners {
		t.Run(name, func(t *testing.T) {
			ln, dial := mk(t)
			ctx, cancel := context.WithCancel(context.Background())
			served := make(chan error)
			go func() { served <- s.Serve(ctx, ln) }()
			t.Cleanup(func() {
				cancel()
				select {
				case err := <-served:
					if err != nil {
						t.Errorf("Serve: %v", err)
					}
				case <-time.After(20 * time.Second):
					t.Error("Serve does not return")
				}
			})
			test(t, func(cfg *rpc.DialConfig) *rpc.Peer {
				p, err := dial(cfg)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { p.Close(); <-p.Done() })
				return p
			})
		})
	}
}

var names atomic.Int32

func freshName() string { return fmt.Sprintf("rpc-test-%d-%d", os.Getpid(), names.Add(1)) }

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

var quiet = slog.New(slog.DiscardHandler)

type point struct {
	X     int               `json:"x"`
	Name  string            `json:"name,omitempty"`
	Data  []byte            `json:"data"`
	When  time.Time         `json:"when"`
	Tags  map[string]string `json:"tags"`
	Inner *point            `json:"inner"`
}

func samplePoint() point {
	return point{X: -7, Name: "p", Data: []byte{0, 1, 2}, When: time.Unix(1700000000, 5000).UTC(), Tags: map[string]string{"a": "b"}, Inner: &point{X: 1 << 40, When: time.Unix(0, 0).UTC()}}
}

func echoServer() *rpc.Server {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "echo", func(_ context.Context, in point) (point, error) { return in, nil })
	rpc.Handle(s, "bytes", func(_ context.Context, in []byte) ([]byte, error) { return in, nil })
	rpc.Handle(s, "any", func(_ context.Context, in any) (any, error) { return in, nil })
	rpc.Handle(s, "nothing", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })
	rpc.Handle(s, "fail", func(context.Context, int) (int, error) {
		e := rpc.Errorf(rpc.NotFound, "no such %s", "thing")
		e.Details = []rpc.Detail{{Type: "t", Value: []byte("v")}}
		return 0, fmt.Errorf("wrapped: %w", e)
	})
	rpc.Handle(s, "plain", func(context.Context, int) (int, error) { return 0, errors.New("plain words") })
	rpc.Handle(s, "panic", func(context.Context, int) (int, error) { panic("a secret") })
	rpc.Handle(s, "unencodable", func(context.Context, int) (func(), error) { return func() {}, nil })
	rpc.Handle(s, "proto", func(_ context.Context, in *structpb.Value) (*wrapperspb.StringValue, error) {
		return wrapperspb.String(in.GetStringValue() + "!"), nil
	})
	return s
}

func TestCall(t *testing.T) {
	serve(t, echoServer(), func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		for _, codec := range []rpc.Codec{nil, rpc.MessagePack, rpc.JSON} {
			p := dial(&rpc.DialConfig{Codec: codec})
			got, err := rpc.Call[point](context.Background(), p, "echo", samplePoint())
			if err != nil || !reflect.DeepEqual(got, samplePoint()) {
				t.Fatalf("%+v, %v", got, err)
			}
			if _, err := rpc.Call[struct{}](context.Background(), p, "nothing", struct{}{}); err != nil {
				t.Fatal(err)
			}
			in := map[string]any{"s": "x", "l": []any{true, nil}, "m": map[string]any{"k": "v"}}
			if out, err := rpc.Call[any](bounded(t), p, "any", in); err != nil || !reflect.DeepEqual(out, any(in)) {
				t.Fatalf("%v became %v, %v", in, out, err)
			}
			for _, n := range []int{0, 1, 5000, 31 << 10, 70 << 10, 3 << 20} {
				data := bytes.Repeat([]byte{byte(n), 7, 255}, n/3+1)
				out, err := rpc.Call[[]byte](bounded(t), p, "bytes", data)
				if err != nil || !bytes.Equal(out, data) {
					t.Fatal(n, len(out), err)
				}
			}
		}
		p := dial(&rpc.DialConfig{Codec: rpc.Protobuf})
		out, err := rpc.Call[*wrapperspb.StringValue](bounded(t), p, "proto", structpb.NewStringValue("hi"))
		if err != nil || out.Value != "hi!" {
			t.Fatal(out, err)
		}
		if _, err := rpc.Call[int](bounded(t), p, "proto", 1); rpc.CodeOf(err) != rpc.InvalidArgument {
			t.Fatal(err)
		}
	})
}

func TestErrors(t *testing.T) {
	serve(t, echoServer(), func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		call := func(method string) *rpc.Error {
			t.Helper()
			_, err := rpc.Call[int](bounded(t), p, method, 1)
			var e *rpc.Error
			if !errors.As(err, &e) {
				t.Fatalf("%s: %v", method, err)
			}
			return e
		}
		if e := call("fail"); e.Code != rpc.NotFound || e.Message != "no such thing" || len(e.Details) != 1 || string(e.Details[0].Value) != "v" {
			t.Errorf("%+v", e)
		}
		if e := call("plain"); e.Code != rpc.Unknown || e.Message != "plain words" {
			t.Errorf("%+v", e)
		}
		if e := call("panic"); e.Code != rpc.Internal || strings.Contains(e.Message, "secret") {
			t.Errorf("%+v", e)
		}
		if e := call("missing"); e.Code != rpc.Unimplemented || !strings.Contains(e.Message, "missing") {
			t.Errorf("%+v", e)
		}
		if e := call("unencodable"); e.Code != rpc.Internal {
			t.Errorf("%+v", e)
		}
		if e := call("echo"); e.Code != rpc.InvalidArgument { // an int is no point
			t.Errorf("%+v", e)
		}
		if e := call(""); e.Code != rpc.InvalidArgument {
			t.Errorf("%+v", e)
		}
		if _, err := rpc.Call[int](bounded(t), p, "echo", func() {}); rpc.CodeOf(err) != rpc.InvalidArgument {
			t.Errorf("%v", err)
		}
		if _, err := rpc.Call[int](bounded(t), p, "bytes", []byte("no int")); rpc.CodeOf(err) != rpc.Internal {
			t.Errorf("%v", err)
		}
		big := make([]byte, 17<<20)
		if _, err := rpc.Call[[]byte](bounded(t), p, "bytes", big); rpc.CodeOf(err) != rpc.ResourceExhausted || !errors.Is(err, msg.ErrTooLarge) {
			t.Errorf("%v", err)
		}
		if _, err := rpc.Call[point](bounded(t), p, "echo", samplePoint()); err != nil {
			t.Errorf("after all that: %v", err)
		}
	})
}

// A result that the caller can't take fails its call only.
func TestResultTooLarge(t *testing.T) {
	s := rpc.NewServer(nil)
	rpc.Handle(s, "large", func(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil })
	serve(t, s, func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		p := dial(&rpc.DialConfig{MaxMessage: 64 << 10})
		if _, err := rpc.Call[[]byte](bounded(t), p, "large", 64<<10); rpc.CodeOf(err) != rpc.ResourceExhausted {
			t.Fatal(err)
		}
		if b, err := rpc.Call[[]byte](bounded(t), p, "large", 60<<10); err != nil || len(b) != 60<<10 {
			t.Fatal(len(b), err)
		}
	})
}

func TestContext(t *testing.T) {
	s := rpc.NewServer(nil)
	ended := make(chan error, 1)
	started := make(chan time.Time, 1)
	rpc.Handle(s, "wait", func(ctx context.Context, _ int) (int, error) {
		deadline, _ := ctx.Deadline()
		started <- deadline
		<-ctx.Done()
		ended <- ctx.Err()
		return 0, ctx.Err()
	})
	serve(t, s, func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		t.Run("cancel", func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			go func() { <-started; cancel() }()
			_, err := rpc.Call[int](ctx, p, "wait", 1)
			if rpc.CodeOf(err) != rpc.Canceled || !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if err := <-ended; err != context.Canceled {
				t.Fatal(err)
			}
		})
		t.Run("deadline", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			want, _ := ctx.Deadline()
			_, err := rpc.Call[int](ctx, p, "wait", 1)
			if rpc.CodeOf(err) != rpc.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			if got := <-started; got.IsZero() || got.Sub(want) > 5*time.Second || want.Sub(got) > 5*time.Second {
				t.Fatalf("the deadline was %v, and %v over there", want, got)
			}
			if err := <-ended; err == nil {
				t.Fatal("the handler's context did not end")
			}
		})
		t.Run("ended before", func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err := rpc.Call[int](ctx, p, "wait", 1); rpc.CodeOf(err) != rpc.Canceled {
				t.Fatal(err)
			}
		})
		t.Run("the caller goes", func(t *testing.T) {
			q := dial(nil)
			failed := make(chan error)
			go func() { _, err := rpc.Call[int](context.Background(), q, "wait", 1); failed <- err }()
			<-started
			q.Close()
			if err := <-ended; err != context.Canceled {
				t.Fatal(err)
			}
			if err := <-failed; rpc.CodeOf(err) != rpc.Unavailable || !errors.Is(err, net.ErrClosed) {
				t.Fatal(err)
			}
			if _, err := rpc.Call[int](context.Background(), q, "wait", 1); rpc.CodeOf(err) != rpc.Unavailable {
				t.Fatal(err)
			}
		})
	})
}

// A cancel must never hit the next call that has the same number.
func TestCancelHitsNobodyElse(t *testing.T) {
	s := rpc.NewServer(nil)
	rpc.Handle(s, "sleep", func(ctx context.Context, us int) (int, error) {
		select {
		case <-time.After(time.Duration(us) * time.Microsecond):
			return us, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	})
	serve(t, s, func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range 300 {
					if (i+w)%2 == 0 {
						ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%7)*100*time.Microsecond)
						_, err := rpc.Call[int](ctx, p, "sleep", 300)
						cancel()
						if c := rpc.CodeOf(err); c != rpc.OK && c != rpc.DeadlineExceeded {
							t.Errorf("cancelled call: %v", err)
						}
						continue
					}
					if _, err := rpc.Call[int](context.Background(), p, "sleep", 100); err != nil {
						t.Errorf("a call that nobody cancelled: %v", err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestManyCallers(t *testing.T) {
	serve(t, echoServer(), func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		var wg sync.WaitGroup
		for w := range 64 {
			wg.Go(func() {
				for i := range 50 {
					data := bytes.Repeat([]byte{byte(w), byte(i)}, i*w)
					out, err := rpc.Call[[]byte](context.Background(), p, "bytes", data)
					if err != nil || !bytes.Equal(out, data) {
						t.Errorf("%d bytes became %d, %v", len(data), len(out), err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// The peer's further calls wait, in the peer, and none is refused.
func TestMaxCalls(t *testing.T) {
	var now, most atomic.Int32
	s := rpc.NewServer(&rpc.ServerConfig{MaxCalls: 16})
	release := make(chan struct{})
	rpc.Handle(s, "hold", func(ctx context.Context, _ int) (int, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		return 0, nil
	})
	serve(t, s, func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		release = make(chan struct{})
		p := dial(nil)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := rpc.Call[int](context.Background(), p, "hold", 1); err != nil {
					t.Error(err)
				}
			})
		}
		for now.Load() < 16 {
			time.Sleep(time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if _, err := rpc.Call[int](ctx, p, "hold", 1); rpc.CodeOf(err) != rpc.DeadlineExceeded {
			t.Errorf("a call that waits for its turn: %v", err)
		}
		close(release)
		wg.Wait()
		if m := most.Load(); m != 16 {
			t.Errorf("%d calls ran at once, where 16 may", m)
		}
	})
}

// A handler knows its caller, and calls it back.
func TestCallback(t *testing.T) {
	s := rpc.NewServer(nil)
	rpc.Handle(s, "outer", func(ctx context.Context, n int) ([]int, error) {
		p := rpc.PeerFrom(ctx)
		var list []int
		for i := range n {
			x, err := rpc.Call[int](ctx, p, "inner", i)
			if err != nil {
				return nil, err
			}
			list = append(list, x)
		}
		if _, tcp := p.Conn().(*net.TCPConn); !tcp && p.Identity().PID != os.Getpid() {
			return nil, rpc.Errorf(rpc.Internal, "the caller is %v", p.Identity())
		}
		return list, nil
	})
	serve(t, s, func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		back := rpc.NewServer(nil)
		rpc.Handle(back, "inner", func(ctx context.Context, i int) (int, error) { return i * i, nil })
		p := dial(&rpc.DialConfig{Server: back})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				got, err := rpc.Call[[]int](bounded(t), p, "outer", 5)
				if err != nil || !slices.Equal(got, []int{0, 1, 4, 9, 16}) {
					t.Errorf("%v, %v", got, err)
				}
			})
		}
		wg.Wait()
		q := dial(nil) // without methods of its own
		if _, err := rpc.Call[[]int](bounded(t), q, "outer", 1); rpc.CodeOf(err) != rpc.Unimplemented {
			t.Fatal(err)
		}
	})
}

// A caller whose peer does not read is let go by its context, at once.
func TestStalledPeer(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	go func() { // greets, and reads no more
		io.WriteString(b, "standpipe 1\nmax-message: 16777216\ncodecs: msgpack\n\n")
		io.ReadFull(b, make([]byte, 10))
	}()
	p := rpc.NewPeer(a, nil)
	defer p.Close()
	for _, n := range []int{40 << 10, 40 << 10, 1 << 20, 10} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		start := time.Now()
		_, err := rpc.Call[[]byte](ctx, p, "bytes", make([]byte, n))
		cancel()
		if rpc.CodeOf(err) != rpc.DeadlineExceeded || time.Since(start) > 5*time.Second {
			t.Fatalf("%d bytes: %v after %v", n, err, time.Since(start))
		}
	}
}

// When its context ends, Serve refuses calls, waits for those that run, and returns.
func TestDrain(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	running, finish := make(chan struct{}), make(chan struct{})
	rpc.Handle(s, "slow", func(context.Context, int) (int, error) {
		close(running)
		<-finish
		return 7, nil
	})
	name := freshName()
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	p, err := rpc.Dial(bounded(t), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	result := make(chan error, 1)
	go func() {
		n, err := rpc.Call[int](context.Background(), p, "slow", 1)
		if err == nil && n != 7 {
			err = fmt.Errorf("got %d", n)
		}
		result <- err
	}()
	<-running
	cancel()
	for { // until it drains, the method is Unimplemented
		_, err := rpc.Call[int](bounded(t), p, "other", 1)
		if rpc.CodeOf(err) == rpc.Unavailable {
			break
		}
	}
	select {
	case err := <-served:
		t.Fatalf("Serve returned before its handler: %v", err)
	default:
	}
	close(finish)
	if err := <-result; err != nil {
		t.Fatalf("the call that ran: %v", err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if _, err := rpc.Dial(bounded(t), name, nil); !errors.Is(err, standpipe.ErrNoServer) {
		t.Fatal(err)
	}
}

// Handlers that do not end are left behind by their contexts when the time is up.
func TestDrainLimit(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Drain: 20 * time.Millisecond})
	running := make(chan struct{})
	rpc.Handle(s, "hang", func(ctx context.Context, _ int) (int, error) {
		close(running)
		<-ctx.Done()
		return 0, ctx.Err()
	})
	name := freshName()
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	p, err := rpc.Dial(bounded(t), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	result := make(chan error, 1)
	go func() { _, err := rpc.Call[int](context.Background(), p, "hang", 1); result <- err }()
	<-running
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if err := <-result; err == nil {
		t.Fatal("no error")
	}
}

func TestDialErrors(t *testing.T) {
	if _, err := rpc.Dial(bounded(t), freshName(), nil); !errors.Is(err, standpipe.ErrNoServer) || rpc.CodeOf(err) != rpc.Unavailable {
		t.Errorf("no server: %v", err)
	}
	for _, tc := range []struct {
		greeting string
		check    func(err error) bool
	}{
		{"", func(err error) bool { return rpc.CodeOf(err) == rpc.Unavailable && errors.Is(err, io.EOF) }},
		{"HTTP/1.1 400 Bad Request\r\n", isProtocolError},
		{"standpipe 99\n\n", func(err error) bool { return isProtocolError(err) && strings.Contains(err.Error(), "99") }},
	} {
		name := freshName()
		ln, err := standpipe.Listen(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, tc.greeting)
			c.Close()
		}()
		if _, err := rpc.Dial(bounded(t), name, nil); err == nil || !tc.check(err) {
			t.Errorf("greeted with %q: %v", tc.greeting, err)
		}
		ln.Close()
	}
	name := freshName() // a server that says nothing
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := rpc.Dial(ctx, name, nil); rpc.CodeOf(err) != rpc.DeadlineExceeded {
		t.Errorf("a silent server: %v", err)
	}
	for _, cfg := range []*rpc.DialConfig{{MaxCalls: 1}, {MaxCalls: 1 << 20}, {Codec: badCodec{rpc.JSON}}} {
		if _, err := rpc.Dial(bounded(t), name, cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

type badCodec struct{ rpc.Codec }

func (badCodec) Name() string { return "Bad Codec" }

func isProtocolError(err error) bool {
	var pe *msg.ProtocolError
	return errors.As(err, &pe)
}

func TestCodes(t *testing.T) {
	for want, err := range map[rpc.Code]error{
		rpc.OK: nil, rpc.Unknown: errors.New("x"), rpc.Canceled: context.Canceled, rpc.DeadlineExceeded: context.DeadlineExceeded,
		rpc.PermissionDenied: fmt.Errorf("x: %w", standpipe.ErrWrongServer), rpc.Unavailable: standpipe.ErrStale,
		rpc.DataLoss: fmt.Errorf("x: %w", rpc.Errorf(rpc.DataLoss, "y")),
	} {
		if got := rpc.CodeOf(err); got != want {
			t.Errorf("CodeOf(%v) = %v", err, got)
		}
	}
	if rpc.Code(99).String() != "Code(99)" || rpc.Unauthenticated.String() != "Unauthenticated" {
		t.Error("names")
	}
}

// What a codec decodes does not share memory with what it was decoded from.
func TestCodecsCopy(t *testing.T) {
	for _, c := range []rpc.Codec{rpc.MessagePack, rpc.JSON} {
		b, err := c.Append([]byte("before"), samplePoint())
		if err != nil || !bytes.HasPrefix(b, []byte("before")) {
			t.Fatal(c.Name(), err)
		}
		b = b[len("before"):]
		var p point
		if err := c.Unmarshal(b, &p); err != nil {
			t.Fatal(err)
		}
		for i := range b {
			b[i] = 0xc1
		}
		if !reflect.DeepEqual(p, samplePoint()) {
			t.Errorf("%s: %+v", c.Name(), p)
		}
	}
}

func TestHandlePanics(t *testing.T) {
	s := echoServer()
	for _, method := range []string{"", "echo", "\xff", strings.Repeat("m", 256)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was taken", method)
				}
			}()
			rpc.Handle(s, method, func(context.Context, int) (int, error) { return 0, nil })
		}()
	}
}
