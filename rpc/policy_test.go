package rpc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

// stranger is a user who we are not.
func stranger(t *testing.T) string {
	t.Helper()
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	defer a.Close()
	if standpipe.User("nobody").Admits(a.Identity()) {
		return "root"
	}
	return "nobody"
}

// policyServer has a unary method and a stream of each name, and counts what their handlers are called.
func policyServer(names ...string) (s *rpc.Server, ran *atomic.Int32, handle func(name string)) {
	s, ran = rpc.NewServer(&rpc.ServerConfig{Log: quiet}), new(atomic.Int32)
	handle = func(name string) {
		rpc.Handle(s, name, func(_ context.Context, n int) (int, error) { ran.Add(1); return n, nil })
		rpc.HandleStream(s, name+".stream", func(_ context.Context, st *rpc.Stream[int, int]) error { ran.Add(1); return st.Send(1) })
	}
	for _, name := range names {
		handle(name)
	}
	return s, ran, handle
}

// require sets p for both.
func require(s *rpc.Server, name string, p standpipe.Policy) {
	s.Require(name, p)
	s.Require(name+".stream", p)
}

// tryBoth calls and opens, and gives the error of both.
func tryBoth(t *testing.T, p *rpc.Peer, name string) (unary, stream error) {
	t.Helper()
	_, unary = rpc.Call[int](bounded(t), p, name, 1)
	st, err := rpc.Open[int, int](bounded(t), p, name+".stream")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for _, err := range st.All() {
		if err != nil {
			return unary, err
		}
	}
	return unary, nil
}

func TestRequire(t *testing.T) {
	s, ran, handle := policyServer("open", "nobody", "self", "user", "anyone", "none")
	require(s, "nobody", standpipe.User(stranger(t)))
	require(s, "self", standpipe.Policy{})
	require(s, "anyone", standpipe.Anyone())
	require(s, "none", standpipe.User())
	require(s, "before.nobody", standpipe.User(stranger(t))) // before Handle
	require(s, "before.self", standpipe.Policy{})
	handle("before.nobody")
	handle("before.self")
	serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		_, tcp := p.Conn().(*net.TCPConn)
		if !tcp { // who serves is who calls
			require(s, "user", standpipe.User(p.Identity().User))
		} else {
			require(s, "user", standpipe.Anyone())
		}
		for name, admitted := range map[string]bool{
			"open": true, "nobody": false, "before.nobody": false, "none": false,
			// A connection that does not tell who is there is not even anyone's.
			"self": !tcp, "before.self": !tcp, "user": !tcp, "anyone": !tcp,
		} {
			before := ran.Load()
			unary, stream := tryBoth(t, p, name)
			for kind, err := range map[string]error{"a call": unary, "a stream": stream} {
				if admitted && err != nil || !admitted && rpc.CodeOf(err) != rpc.PermissionDenied {
					t.Errorf("%s of %q: %v", kind, name, err)
				}
			}
			if n := ran.Load() - before; admitted && n != 2 || !admitted && n != 0 {
				t.Errorf("%d handlers of %q ran", n, name)
			}
		}
	})
}

// A refusal says which method it is, for whom it is, and who was refused.
func TestRequireExplains(t *testing.T) {
	s, _, _ := policyServer("locked")
	require(s, "locked", standpipe.User(stranger(t)).Or(standpipe.Group("no-such-group")).Or(standpipe.User("also-nobody")))
	rpc.Handle(s, "who", func(ctx context.Context, _ int) (string, error) { return rpc.PeerFrom(ctx).Identity().String(), nil })
	serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		who, err := rpc.Call[string](bounded(t), p, "who", 1)
		if err != nil {
			t.Fatal(err)
		}
		unary, stream := tryBoth(t, p, "locked")
		for _, err := range []error{unary, stream} {
			var e *rpc.Error
			if !errors.As(err, &e) || e.Code != rpc.PermissionDenied {
				t.Fatal(err)
			}
			for _, part := range []string{`"locked`, "user:" + stranger(t) + ",user:also-nobody,group:no-such-group", who} {
				if !strings.Contains(e.Message, part) {
					t.Errorf("%q does not name %q", e.Message, part)
				}
			}
		}
	})
}

// A later Require replaces the one before, also for connections that are there, and while the method is called.
func TestRequireAgain(t *testing.T) {
	s, _, _ := policyServer("m")
	p := startServing(t, s).dial(t, nil)
	for range 3 {
		require(s, "m", standpipe.User(stranger(t)))
		if unary, stream := tryBoth(t, p, "m"); rpc.CodeOf(unary) != rpc.PermissionDenied || rpc.CodeOf(stream) != rpc.PermissionDenied {
			t.Fatal(unary, stream)
		}
		require(s, "m", standpipe.Policy{})
		if unary, stream := tryBoth(t, p, "m"); unary != nil || stream != nil {
			t.Fatal(unary, stream)
		}
	}
}

// A refused caller is refused before its value is looked at and before interceptors run; what it sends to a refused stream is thrown away.
func TestRequireComesFirst(t *testing.T) {
	var wrapped atomic.Int32
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, Wrap: []rpc.Interceptor{
		func(ctx context.Context, _ *rpc.CallInfo, next func(context.Context) error) error {
			wrapped.Add(1)
			return next(ctx)
		},
	}})
	rpc.Handle(s, "m", func(_ context.Context, n int) (int, error) { return n, nil })
	rpc.HandleStream(s, "m.stream", func(_ context.Context, st *rpc.Stream[int, int]) error { return nil })
	require(s, "m", standpipe.User(stranger(t)))
	p := startServing(t, s).dial(t, nil)
	if _, err := rpc.Call[int](bounded(t), p, "m", "no number"); rpc.CodeOf(err) != rpc.PermissionDenied {
		t.Errorf("a call: %v", err)
	}
	st, err := rpc.Open[int, []byte](bounded(t), p, "m.stream")
	if err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 30<<10); err == nil; { // until the end is here
		err = st.Send(b)
	}
	if err != io.EOF {
		t.Errorf("Send: %v", err)
	}
	if _, err := st.Recv(); rpc.CodeOf(err) != rpc.PermissionDenied {
		t.Errorf("a stream: %v", err)
	}
	if n := wrapped.Load(); n != 0 {
		t.Errorf("%d interceptors ran", n)
	}
}

// A peer's methods may be for some, too, when it is called back.
func TestRequireOfDialer(t *testing.T) {
	back, _, _ := policyServer("open", "locked")
	require(back, "locked", standpipe.User(stranger(t)))
	s := rpc.NewServer(nil)
	rpc.Handle(s, "try", func(ctx context.Context, name string) (int, error) {
		return rpc.Call[int](ctx, rpc.PeerFrom(ctx), name, 1)
	})
	p := startServing(t, s).dial(t, &rpc.DialConfig{Server: back})
	for name, code := range map[string]rpc.Code{"open": rpc.OK, "locked": rpc.PermissionDenied} {
		if _, err := rpc.Call[int](bounded(t), p, "try", name); rpc.CodeOf(err) != code {
			t.Errorf("%q: %v", name, err)
		}
	}
}
