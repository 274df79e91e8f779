package rpc_test

import (
	"context"
	"io"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

// statsServer has a method and a stream to be counted; goOn lets those that wait go.
func statsServer() (s *rpc.Server, goOn chan struct{}) {
	s, goOn = rpc.NewServer(&rpc.ServerConfig{Log: quiet}), make(chan struct{})
	rpc.Handle(s, "quick", func(_ context.Context, n int) (int, error) { return n, nil })
	rpc.Handle(s, "slow", func(_ context.Context, n int) (int, error) { time.Sleep(3 * time.Millisecond); return n, nil })
	rpc.Handle(s, "fails", func(context.Context, int) (int, error) { return 0, rpc.Errorf(rpc.NotFound, "no") })
	rpc.Handle(s, "waits", func(ctx context.Context, n int) (int, error) {
		select {
		case <-goOn:
		case <-ctx.Done():
		}
		return n, nil
	})
	rpc.HandleStream(s, "pours", func(ctx context.Context, st *rpc.Stream[int, []byte]) error {
		for b := make([]byte, 10<<10); ; {
			if err := st.Send(b); err != nil {
				return err
			}
		}
	})
	return s, goOn
}

// untilStats asks until what is wanted shows, since what others do is not over at once.
func untilStats(t *testing.T, look func() rpc.Stats, ok func(rpc.Stats) bool) rpc.Stats {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		st := look()
		if ok(st) {
			return st
		}
		if time.Now().After(end) {
			t.Fatalf("still %+v", st)
		}
	}
}

func method(t *testing.T, st rpc.Stats, name string) rpc.MethodStats {
	t.Helper()
	i := slices.IndexFunc(st.Methods, func(m rpc.MethodStats) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("%q is not among %+v", name, st.Methods)
	}
	return st.Methods[i]
}

func TestStatsOfCalls(t *testing.T) {
	s, goOn := statsServer()
	sv := startServing(t, s)
	p := sv.dial(t, nil)
	for range 100 {
		if _, err := rpc.Call[int](bounded(t), p, "quick", 1); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		if _, err := rpc.Call[int](bounded(t), p, "slow", 1); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := rpc.Call[int](bounded(t), p, "fails", 1); rpc.CodeOf(err) != rpc.NotFound {
			t.Fatal(err)
		}
	}
	if _, err := rpc.Call[int](bounded(t), p, "missing", 1); rpc.CodeOf(err) != rpc.Unimplemented {
		t.Fatal(err)
	}
	for range 2 {
		go rpc.Call[int](bounded(t), p, "waits", 1)
	}
	ask := func() rpc.Stats {
		st, err := rpc.StatsOf(bounded(t), p)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	st := untilStats(t, ask, func(st rpc.Stats) bool { return method(t, st, "waits").Open == 2 })

	quick, slow, fails := method(t, st, "quick"), method(t, st, "slow"), method(t, st, "fails")
	if quick.Calls != 100 || quick.Kind != "unary" || len(quick.Errors) != 0 || slow.Calls != 10 || fails.Calls != 3 || fails.Errors["NotFound"] != 3 {
		t.Errorf("%+v, %+v, %+v", quick, slow, fails)
	}
	if slow.P50 < 0.003 || slow.P50 > slow.P99 || quick.P50 == 0 {
		t.Errorf("the times are %+v, %+v", quick, slow)
	}
	sampled := int64(0)
	for _, at := range quick.Times {
		sampled += at.Count
	}
	if sampled < 80 || sampled > 120 {
		t.Errorf("100 calls count as %d", sampled)
	}
	if !maps.Equal(st.Refused, map[string]int64{"Unimplemented": 1}) {
		t.Errorf("refused: %v", st.Refused)
	}
	if st.PID != os.Getpid() || st.Connected != 1 || st.Accepted != 1 || len(st.Connections) != 1 {
		t.Fatalf("%+v", st)
	}
	c := st.Connections[0]
	if !c.Self || c.ID != 1 || c.PID != os.Getpid() || c.User == "" || c.Who == "" || c.Failed != 4 || c.Open != 3 || c.Calls < 100+10+3+1+2+1 {
		t.Errorf("the connection is %+v", c)
	}
	if c.Sent != st.Sent || c.Received < 100*16 || c.Sent < 100*16 {
		t.Errorf("bytes: %+v", c)
	}
	close(goOn)

	p.Close()
	gone := untilStats(t, s.Stats, func(st rpc.Stats) bool { return st.Connected == 0 })
	if gone.Accepted != 1 || gone.Sent < st.Sent || gone.Received < st.Received || method(t, gone, "quick").Calls != 100 || len(gone.Connections) != 0 {
		t.Errorf("when it has gone: %+v", gone)
	}
}

// A stream whose reader does not read is seen, and one that ends is not open any more.
func TestStatsOfStreams(t *testing.T) {
	s, _ := statsServer()
	p := startServing(t, s).dial(t, nil)
	st, err := rpc.Open[[]byte, int](bounded(t), p, "pours")
	if err != nil {
		t.Fatal(err)
	}
	got := untilStats(t, s.Stats, func(st rpc.Stats) bool { return len(st.Connections) == 1 && st.Connections[0].Blocked == 1 })
	if c, m := got.Connections[0], method(t, got, "pours"); c.Streams != 1 || c.Open != 1 || m.Open != 1 || m.Calls != 1 || m.Kind != "stream" {
		t.Errorf("%+v, %+v", c, m)
	}
	st.Close()
	got = untilStats(t, s.Stats, func(st rpc.Stats) bool { return st.Connections[0].Open == 0 })
	if m := method(t, got, "pours"); m.Open != 0 || m.Errors["Canceled"] != 1 || m.P50 == 0 || got.Connections[0].Streams != 0 {
		t.Errorf("%+v", m)
	}
}

// Memory that is shared shows; where none can be, nothing does.
func TestStatsOfMemory(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "len", func(_ context.Context, in rpc.Parcel[int]) (int, error) { return in.Buffers[0].Len(), nil })
	p := startServing(t, s).dial(t, nil)
	b, err := p.NewBuffer(bounded(t), 200<<10)
	if err != nil {
		t.Fatal(err)
	}
	shared := b.Shared()
	in := rpc.Parcel[int]{Value: 1}
	in.Buffers = append(in.Buffers, b)
	if n, err := rpc.Call[int](bounded(t), p, "len", in); n != 200<<10 || err != nil {
		t.Fatal(n, err)
	}
	c := s.Stats().Connections[0]
	if (c.Taken >= 200<<10) != shared || c.Received < 200<<10 || c.Made != 0 {
		t.Errorf("shared: %v, %+v", shared, c)
	}
}

// Who may ask is as the server wants it; without a word of it, this user, and nobody whom the kernel does not vouch for.
func TestStatsAdmission(t *testing.T) {
	s, _ := statsServer()
	serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		want := rpc.OK
		if p.Identity().User == "" {
			want = rpc.PermissionDenied // TCP
		}
		if _, err := rpc.StatsOf(bounded(t), p); rpc.CodeOf(err) != want {
			t.Errorf("by default: %v", err)
		}
		s.Require("standpipe.stats", standpipe.User(stranger(t)))
		if _, err := rpc.StatsOf(bounded(t), p); rpc.CodeOf(err) != rpc.PermissionDenied {
			t.Errorf("for somebody else: %v", err)
		}
		if n := method(t, s.Stats(), "standpipe.stats").Errors["PermissionDenied"]; n == 0 {
			t.Error("a refusal is not counted")
		}
		s.Require("standpipe.stats", standpipe.Policy{}.Or(standpipe.Superuser()))
	})
}

// Who is called back tells of its own server, and who has none does not tell.
func TestStatsOfDialer(t *testing.T) {
	back, _ := statsServer()
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "ask", func(ctx context.Context, _ int) (rpc.Stats, error) { return rpc.StatsOf(ctx, rpc.PeerFrom(ctx)) })
	sv := startServing(t, s)
	got, err := rpc.Call[rpc.Stats](bounded(t), sv.dial(t, &rpc.DialConfig{Server: back}), "ask", 1)
	if err != nil || len(got.Connections) != 1 || !got.Connections[0].Dialed || !got.Connections[0].Self {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := rpc.Call[rpc.Stats](bounded(t), sv.dial(t, nil), "ask", 1); rpc.CodeOf(err) != rpc.Unimplemented {
		t.Errorf("without a server: %v", err)
	}
}

// A look disturbs nobody, and nobody a look.
func TestStatsMeanwhile(t *testing.T) {
	s, _ := statsServer()
	sv := startServing(t, s)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	done := make(chan error, 4)
	for i := range 4 {
		go func() {
			for ctx.Err() == nil {
				a, b, err := standpipe.Pipe()
				if err != nil {
					done <- err
					return
				}
				sv.ln.conns <- b
				p := rpc.NewPeer(a, nil)
				for range 20 {
					if _, err = rpc.Call[int](bounded(t), p, []string{"quick", "slow"}[i%2], 1); err != nil {
						done <- err
						return
					}
				}
				if st, err := rpc.Open[[]byte, int](bounded(t), p, "pours"); err == nil {
					st.Recv()
					st.Close()
				}
				p.Close()
				<-p.Done()
			}
			done <- nil
		}()
	}
	last := rpc.Stats{}
	for ctx.Err() == nil {
		st := s.Stats()
		if st.Sent < last.Sent || st.Received < last.Received || st.Accepted < last.Accepted || method(t, st, "quick").Open < 0 {
			t.Fatalf("counts go back: %+v, then %+v", last, st)
		}
		last = st
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	untilStats(t, s.Stats, func(st rpc.Stats) bool { return st.Connected == 0 })
}

func TestQuantile(t *testing.T) {
	m := rpc.MethodStats{Times: []rpc.TimeCount{{UpTo: 1, Count: 50}, {UpTo: 2, Count: 49}, {UpTo: 3, Count: 1}}}
	for q, want := range map[float64]float64{0: 1, 0.5: 1, 0.51: 2, 0.99: 2, 1: 3} {
		if got := m.Quantile(q); got != want {
			t.Errorf("%v: %v, not %v", q, got, want)
		}
	}
	if got := (rpc.MethodStats{}).Quantile(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func BenchmarkStats(b *testing.B) {
	s, _ := statsServer()
	sv := startServing(b, s)
	for range 10 {
		sv.dial(b, nil)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Stats()
	}
}

// What a call held is given back once, though its memory serves a stream next.
func TestQueuedOfStreamAfterCall(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "call", func(_ context.Context, in []byte) (int, error) { return len(in), nil })
	rpc.HandleStream(s, "stream", func(context.Context, *rpc.Stream[int, int]) error { return nil })
	p := startServing(t, s).dial(t, nil)
	for range 20 {
		if _, err := rpc.Call[int](t.Context(), p, "call", make([]byte, 3000)); err != nil {
			t.Fatal(err)
		}
		st, err := rpc.Open[int, int](t.Context(), p, "stream")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Recv(); err != io.EOF {
			t.Fatal(err)
		}
		st.Close()
	}
	stats, err := rpc.StatsOf(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if n := stats.Connections[0].Queued; n < 0 || n > 100 { // the call itself
		t.Errorf("%d bytes wait", n)
	}
}
