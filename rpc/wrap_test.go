package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

// record is what interceptors saw, in order.
type record struct {
	mu    sync.Mutex
	lines []string
}

func (r *record) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *record) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

// around notes when name's turn begins and ends.
func (r *record) around(name string) rpc.Interceptor {
	return func(ctx context.Context, call *rpc.CallInfo, next func(context.Context) error) error {
		r.add("%s %s", name, call.Method)
		err := next(ctx)
		r.add("%s %v", name, rpc.CodeOf(err))
		return err
	}
}

// wrapServer has a unary method and a stream; a negative number makes them fail.
func wrapServer(list ...rpc.Interceptor) *rpc.Server {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, Wrap: list})
	rpc.Handle(s, "unary", func(ctx context.Context, n int) (int, error) {
		if n < 0 {
			return 0, rpc.Errorf(rpc.DataLoss, "as asked")
		}
		return n + 1, nil
	})
	rpc.HandleStream(s, "stream", func(ctx context.Context, st *rpc.Stream[int, int]) error {
		for n, err := range st.All() {
			if err != nil {
				return err
			}
			if n < 0 {
				return rpc.Errorf(rpc.DataLoss, "as asked")
			}
			if err := st.Send(n + 1); err != nil {
				return err
			}
		}
		return nil
	})
	return s
}

// useStream sends n, and returns how the stream ended; io.EOF is nil.
func useStream(ctx context.Context, p *rpc.Peer, n int) error {
	st, err := rpc.Open[int, int](ctx, p, "stream")
	if err != nil {
		return err
	}
	defer st.Close()
	if err := errors.Join(st.Send(n), st.CloseSend()); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, err := range st.All() {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestInterceptorOrder(t *testing.T) {
	var here, there record
	s := wrapServer(there.around("a"), there.around("b"))
	serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(&rpc.DialConfig{Wrap: []rpc.Interceptor{here.around("a"), here.around("b")}})
		for n, code := range map[int]rpc.Code{1: rpc.OK, -1: rpc.DataLoss} {
			for method, use := range map[string]func() error{
				"unary":  func() error { _, err := rpc.Call[int](bounded(t), p, "unary", n); return err },
				"stream": func() error { return useStream(bounded(t), p, n) },
			} {
				if err := use(); rpc.CodeOf(err) != code {
					t.Errorf("%s: %v", method, err)
				}
				want := []string{"a " + method, "b " + method, "b " + code.String(), "a " + code.String()}
				var got []string // around Open, they return a moment after the stream's end is known
				until(t, "interceptors around "+method, func() bool { got = append(got, here.take()...); return len(got) >= 4 })
				if !slices.Equal(got, want) {
					t.Errorf("around what is called: %q, not %q", got, want)
				}
				if got := there.take(); !slices.Equal(got, want) {
					t.Errorf("around the handler: %q, not %q", got, want)
				}
			}
		}
	})
}

type wrapKey struct{}

// An interceptor may give next another context: the handler gets it, and the call is made with it.
func TestInterceptorContext(t *testing.T) {
	value := func(ctx context.Context, _ *rpc.CallInfo, next func(context.Context) error) error {
		return next(context.WithValue(ctx, wrapKey{}, "there"))
	}
	s := rpc.NewServer(&rpc.ServerConfig{Wrap: []rpc.Interceptor{value}})
	what := func(ctx context.Context) []string {
		v, _ := ctx.Value(wrapKey{}).(string)
		if rpc.PeerFrom(ctx) == nil || rpc.SetHeader(ctx, rpc.Metadata{"k": {v}}) != nil {
			return nil
		}
		return append(rpc.MetadataFrom(ctx)["here"], v)
	}
	rpc.Handle(s, "unary", func(ctx context.Context, _ int) ([]string, error) { return what(ctx), nil })
	rpc.HandleStream(s, "stream", func(ctx context.Context, st *rpc.Stream[int, []string]) error { return st.Send(what(ctx)) })
	mark := func(ctx context.Context, _ *rpc.CallInfo, next func(context.Context) error) error {
		return next(rpc.WithMetadata(ctx, rpc.Metadata{"here": {"here"}}))
	}
	p := startServing(t, s).dial(t, &rpc.DialConfig{Wrap: []rpc.Interceptor{mark, mark}})
	want := []string{"here", "here", "there"}
	if got, err := rpc.Call[[]string](bounded(t), p, "unary", 1); err != nil || !slices.Equal(got, want) {
		t.Errorf("unary: %v, %v", got, err)
	}
	st, err := rpc.Open[[]string, int](bounded(t), p, "stream")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := st.Recv(); err != nil || !slices.Equal(got, want) {
		t.Errorf("stream: %v, %v", got, err)
	}
	if _, err := st.Recv(); err != io.EOF {
		t.Error(err)
	}
}

// One that does not call next decides how the call ends.
func TestInterceptorRefuses(t *testing.T) {
	refuse := func(err error) rpc.Interceptor {
		return func(context.Context, *rpc.CallInfo, func(context.Context) error) error { return err }
	}
	never := func(_ context.Context, call *rpc.CallInfo, _ func(context.Context) error) error {
		return fmt.Errorf("%s came through", call.Method)
	}
	words := errors.New("own words")
	for _, c := range []struct {
		name   string
		err    error
		code   rpc.Code
		opened rpc.Code // of Open, on this side
	}{
		{"coded", rpc.Errorf(rpc.Unauthenticated, "who?"), rpc.Unauthenticated, rpc.Unauthenticated},
		{"wrapped", fmt.Errorf("x: %w", rpc.Errorf(rpc.OutOfRange, "y")), rpc.OutOfRange, rpc.OutOfRange},
		{"plain", words, rpc.Unknown, rpc.Unknown},
		{"nil", nil, rpc.OK, rpc.Internal},
	} {
		t.Run(c.name, func(t *testing.T) {
			far := startServing(t, wrapServer(refuse(c.err), never)).dial(t, nil)
			n, err := rpc.Call[int](bounded(t), far, "unary", 5)
			if rpc.CodeOf(err) != c.code || n != 0 {
				t.Errorf("by the server: %d, %v", n, err)
			}
			if err := useStream(bounded(t), far, 5); rpc.CodeOf(err) != c.code {
				t.Errorf("by the server, a stream: %v", err)
			}
			near := startServing(t, wrapServer(never)).dial(t, &rpc.DialConfig{Wrap: []rpc.Interceptor{refuse(c.err), never}})
			if n, err = rpc.Call[int](bounded(t), near, "unary", 5); err != c.err || n != 0 {
				t.Errorf("by the caller: %d, %v", n, err)
			}
			if err := useStream(bounded(t), near, 5); rpc.CodeOf(err) != c.opened || c.err != nil && err != c.err {
				t.Errorf("by the opener: %v", err)
			}
		})
	}
}

// An error behind next is what the caller gets, though the handler had a result.
func TestInterceptorReplacesError(t *testing.T) {
	replace := func(ctx context.Context, _ *rpc.CallInfo, next func(context.Context) error) error {
		if err := next(ctx); err != nil {
			return nil // it was not so bad
		}
		return rpc.Errorf(rpc.Aborted, "too late")
	}
	p := startServing(t, wrapServer(replace)).dial(t, nil)
	for n, code := range map[int]rpc.Code{1: rpc.Aborted, -1: rpc.OK} {
		if _, err := rpc.Call[int](bounded(t), p, "unary", n); rpc.CodeOf(err) != code {
			t.Errorf("unary %d: %v", n, err)
		}
		if err := useStream(bounded(t), p, n); rpc.CodeOf(err) != code {
			t.Errorf("stream %d: %v", n, err)
		}
	}
}

// An interceptor sees the argument and the result of a unary call, may change them, and may keep them.
func TestInterceptorSeesValues(t *testing.T) {
	var mu sync.Mutex
	var kept []*point
	look := func(ctx context.Context, call *rpc.CallInfo, next func(context.Context) error) error {
		if call.Stream {
			if call.In != nil || call.Out != nil {
				return rpc.Errorf(rpc.Internal, "a stream has the values %v and %v", call.In, call.Out)
			}
			return next(ctx)
		}
		in, okIn := call.In.(*point)
		out, okOut := call.Out.(*point)
		if !okIn || !okOut || out.X != 0 {
			return rpc.Errorf(rpc.Internal, "the values are %T and %T", call.In, call.Out)
		}
		in.Name += "+"
		err := next(ctx)
		out.X++
		mu.Lock()
		defer mu.Unlock()
		kept = append(kept, in, out)
		return err
	}
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, Wrap: []rpc.Interceptor{look}})
	rpc.Handle(s, "echo", func(_ context.Context, in point) (point, error) { return in, nil })
	rpc.HandleStream(s, "stream", func(_ context.Context, st *rpc.Stream[int, int]) error { return nil })
	p := startServing(t, s).dial(t, &rpc.DialConfig{Wrap: []rpc.Interceptor{look}})
	for i := range 10 {
		in := samplePoint()
		in.X = 100 * i
		got, err := rpc.Call[point](bounded(t), p, "echo", in)
		want := in
		want.Name, want.X = in.Name+"++", in.X+2
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, %v, not %+v", got, err, want)
		}
	}
	mu.Lock()
	for i, v := range kept { // of each call, the handler's two and then the caller's two
		if want := 100 * (i / 4); v.X != want+[]int{0, 1, 0, 2}[i%4] {
			t.Errorf("value %d that was kept is now %+v", i, v)
		}
	}
	mu.Unlock()
	var in, out = samplePoint(), point{}
	if err := p.Call(bounded(t), "echo", &in, &out); err != nil || in.Name != "p+" || out.Name != "p++" {
		t.Errorf("Peer.Call: %+v, %+v, %v", in, out, err)
	}
	if err := useStream(bounded(t), p, 1); err != nil {
		t.Error(err)
	}
}

// Around Open, next returns when the stream has ended, however it does.
func TestInterceptorAroundOpen(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(cancel context.CancelFunc, st *rpc.Stream[int, int], p *rpc.Peer)
		code rpc.Code
	}{
		"nil":        {func(_ context.CancelFunc, st *rpc.Stream[int, int], _ *rpc.Peer) { st.CloseSend() }, rpc.OK},
		"error":      {func(_ context.CancelFunc, st *rpc.Stream[int, int], _ *rpc.Peer) { st.Send(-1) }, rpc.DataLoss},
		"context":    {func(cancel context.CancelFunc, _ *rpc.Stream[int, int], _ *rpc.Peer) { cancel() }, rpc.Canceled},
		"close":      {func(_ context.CancelFunc, st *rpc.Stream[int, int], _ *rpc.Peer) { st.Close() }, rpc.Canceled},
		"connection": {func(_ context.CancelFunc, _ *rpc.Stream[int, int], p *rpc.Peer) { p.Close() }, rpc.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			sv := startServing(t, wrapServer())
			p := sv.dial(t, &rpc.DialConfig{Wrap: []rpc.Interceptor{
				func(ctx context.Context, _ *rpc.CallInfo, next func(context.Context) error) error {
					err := next(ctx)
					ended <- err
					return err
				},
			}})
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			st, err := rpc.Open[int, int](ctx, p, "stream")
			if err != nil {
				t.Fatal(err)
			}
			if err := st.Send(1); err != nil {
				t.Fatal(err)
			}
			if n, err := st.Recv(); n != 2 || err != nil {
				t.Fatal(n, err)
			}
			select {
			case err := <-ended:
				t.Fatalf("next returned before the end: %v", err)
			default:
			}
			c.do(cancel, st, p)
			if err := <-ended; rpc.CodeOf(err) != c.code {
				t.Errorf("the stream ended with %v", err)
			}
			want := c.code
			if _, err := st.Recv(); err != io.EOF && rpc.CodeOf(err) != want || (want == rpc.OK) != (err == io.EOF) {
				t.Errorf("Recv: %v", err)
			}
		})
	}
}

// Interceptors see the connection end: around a call that waits, and around handlers, whose context ends.
func TestInterceptorConnectionEnds(t *testing.T) {
	here, there := make(chan error, 2), make(chan error, 2)
	running := make(chan struct{}, 2)
	note := func(seen chan error) rpc.Interceptor {
		return func(ctx context.Context, _ *rpc.CallInfo, next func(context.Context) error) error {
			err := next(ctx)
			seen <- err
			return err
		}
	}
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, Wrap: []rpc.Interceptor{note(there)}})
	rpc.Handle(s, "hang", func(ctx context.Context, _ int) (int, error) {
		running <- struct{}{}
		<-ctx.Done()
		return 0, ctx.Err()
	})
	rpc.HandleStream(s, "stream", func(ctx context.Context, _ *rpc.Stream[int, int]) error {
		running <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	p := startServing(t, s).dial(t, &rpc.DialConfig{Wrap: []rpc.Interceptor{note(here)}})
	if _, err := rpc.Open[int, int](bounded(t), p, "stream"); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() { _, err := rpc.Call[int](bounded(t), p, "hang", 1); failed <- err }()
	<-running
	<-running
	p.Close()
	for range 2 {
		if err := <-here; rpc.CodeOf(err) != rpc.Unavailable {
			t.Errorf("around what was called: %v", err)
		}
		if err := <-there; rpc.CodeOf(err) != rpc.Canceled {
			t.Errorf("around the handler: %v", err)
		}
	}
	if err := <-failed; rpc.CodeOf(err) != rpc.Unavailable {
		t.Error(err)
	}
	if _, err := rpc.Open[int, int](bounded(t), p, "stream"); rpc.CodeOf(err) != rpc.Unavailable || <-here == nil {
		t.Errorf("a stream on a connection that has ended: %v", err)
	}
}

// A panic in a server's interceptor, and one of a handler on its way through them, fail their call alone.
func TestInterceptorPanics(t *testing.T) {
	var seen record
	s := wrapServer(seen.around("outside"), func(ctx context.Context, call *rpc.CallInfo, next func(context.Context) error) error {
		if rpc.MetadataFrom(ctx) != nil {
			panic("a secret")
		}
		return next(ctx)
	})
	rpc.Handle(s, "panic", func(context.Context, int) (int, error) { panic("a secret") })
	p := startServing(t, s).dial(t, nil)
	ctx := rpc.WithMetadata(bounded(t), rpc.Metadata{"panic": {"1"}})
	_, unary := rpc.Call[int](ctx, p, "unary", 1)
	_, handler := rpc.Call[int](bounded(t), p, "panic", 1)
	for what, err := range map[string]error{"unary": unary, "handler": handler, "stream": useStream(ctx, p, 1)} {
		if rpc.CodeOf(err) != rpc.Internal || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n, err := rpc.Call[int](bounded(t), p, "unary", 1); n != 2 || err != nil {
		t.Errorf("after that: %d, %v", n, err)
	}
	if err := useStream(bounded(t), p, 1); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// A dialer's interceptors are around what it calls, not around what it serves; and a server's not around its calls back.
func TestInterceptorSides(t *testing.T) {
	var here, there record
	back := rpc.NewServer(nil)
	rpc.Handle(back, "inner", func(_ context.Context, n int) (int, error) { return n, nil })
	s := rpc.NewServer(&rpc.ServerConfig{Wrap: []rpc.Interceptor{there.around("there")}})
	rpc.Handle(s, "outer", func(ctx context.Context, n int) (int, error) {
		return rpc.Call[int](ctx, rpc.PeerFrom(ctx), "inner", n)
	})
	p := startServing(t, s).dial(t, &rpc.DialConfig{Server: back, Wrap: []rpc.Interceptor{here.around("here")}})
	if n, err := rpc.Call[int](bounded(t), p, "outer", 3); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if got := here.take(); !slices.Equal(got, []string{"here outer", "here OK"}) {
		t.Errorf("around what is called: %q", got)
	}
	if got := there.take(); !slices.Equal(got, []string{"there outer", "there OK"}) {
		t.Errorf("around what is served: %q", got)
	}
}

// hookedContext calls hook when it is asked for Done the second time: Open asks when the opening is on its way.
type hookedContext struct {
	context.Context
	hook func()
}

func (c *hookedContext) Done() <-chan struct{} {
	c.hook()
	return c.Context.Done()
}

// A stream whose end comes while Open is still at it has ended for the interceptors, too.
func TestInterceptorEndsDuringOpen(t *testing.T) {
	ended := make(chan error, 1)
	p, w := wired(t, &rpc.DialConfig{Wrap: []rpc.Interceptor{
		func(ctx context.Context, call *rpc.CallInfo, next func(context.Context) error) error {
			err := next(ctx)
			if call.Stream {
				ended <- err
			}
			return err
		},
	}})
	go func() {
		for range 2 { // the stream fails, and then the call is answered
			f := w.next(wireOpen)
			if f.flags&wireStream != 0 {
				w.send(wireFrame{f.stream, wireClose, 0, uint16(rpc.DataLoss), make([]byte, 4)})
			} else {
				w.send(wireFrame{f.stream, wireClose, wireValue, 0, []byte{1}})
			}
		}
	}()
	var once sync.Once
	ctx := &hookedContext{bounded(t), func() {
		once.Do(func() {
			if _, err := rpc.Call[int](bounded(t), p, "m", 1); err != nil {
				t.Error(err)
			}
		})
	}}
	st, err := rpc.Open[int, int](ctx, p, "stream")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Recv(); rpc.CodeOf(err) != rpc.DataLoss {
		t.Errorf("Recv: %v", err)
	}
	select {
	case err := <-ended:
		if rpc.CodeOf(err) != rpc.DataLoss {
			t.Errorf("next returned %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("next does not return")
		st.Close()
	}
}
