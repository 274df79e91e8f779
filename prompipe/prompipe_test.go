package prompipe_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/pipetest"
	"github.com/standpipe/standpipe/prompipe"
	"github.com/standpipe/standpipe/rpc"
)

// start serves a few methods, and calls them, with both sides measured.
func start(t *testing.T, calls *prompipe.Calls) (*rpc.Server, *rpc.Peer) {
	t.Helper()
	s := rpc.NewServer(&rpc.ServerConfig{Log: slog.New(slog.DiscardHandler), Wrap: []rpc.Interceptor{calls.Server()}})
	rpc.Handle(s, "sum", func(_ context.Context, n []int) (int, error) { return len(n), nil })
	rpc.Handle(s, "fail", func(context.Context, int) (int, error) { return 0, rpc.Errorf(rpc.NotFound, "no") })
	rpc.Handle(s, "panic", func(context.Context, int) (int, error) { panic("no") })
	rpc.HandleStream(s, "pours", func(_ context.Context, st *rpc.Stream[int, []byte]) error {
		for b := make([]byte, 10<<10); ; {
			if err := st.Send(b); err != nil {
				return err
			}
		}
	})
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	peer, err := rpc.Dial(t.Context(), name, &rpc.DialConfig{Wrap: []rpc.Interceptor{calls.Client()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		peer.Close()
		<-peer.Done()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, peer
}

// scraper asks a registry as Prometheus does, over HTTP.
func scraper(t *testing.T, reg *prometheus.Registry) func() string {
	t.Helper()
	site := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg, ErrorHandling: promhttp.HTTPErrorOnError}))
	t.Cleanup(site.Close)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return func() string {
		t.Helper()
		got, err := client.Get(site.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		text, err := io.ReadAll(got.Body)
		if err != nil || got.StatusCode != http.StatusOK {
			t.Fatal(got.Status, string(text), err)
		}
		return string(text)
	}
}

// awaits scrapes until all patterns are lines of the text: the end of a call is counted when its caller has gone on.
func awaits(t *testing.T, scrape func() string, patterns ...string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		text := scrape()
		missing := ""
		for _, p := range patterns {
			if !regexp.MustCompile(`(?m)^` + p + `$`).MatchString(text) {
				missing = p
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is not in\n%s", missing, text)
		}
	}
}

func TestCollectorAndCalls(t *testing.T) {
	calls := prompipe.NewCalls(nil)
	s, peer := start(t, calls)
	reg := prometheus.NewPedanticRegistry()
	collector := prompipe.NewCollector(s, nil)
	if err := errors.Join(reg.Register(calls), reg.Register(collector)); err != nil {
		t.Fatal(err)
	}
	scrape := scraper(t, reg)
	awaits(t, scrape, `standpipe_server_connections 1`, `standpipe_server_calls_total\{method="sum"\} 0`)

	for range 5 {
		if _, err := rpc.Call[int](t.Context(), peer, "sum", []int{1}); err != nil {
			t.Fatal(err)
		}
	}
	for _, method := range []string{"fail", "panic", "missing", "no UTF-8: \xff"} { // a label has to be UTF-8
		if _, err := rpc.Call[int](t.Context(), peer, method, 1); err == nil {
			t.Fatal(method)
		}
	}
	st, err := rpc.Open[[]byte, int](t.Context(), peer, "pours")
	if err != nil {
		t.Fatal(err)
	}
	awaits(t, scrape,
		`standpipe_server_accepted_total 1`,
		`standpipe_server_streams 1`,
		`standpipe_server_streams_blocked 1`,
		`standpipe_server_calls_open\{method="pours"\} 1`,
		`standpipe_server_calls_total\{method="sum"\} 5`,
		`standpipe_server_call_errors_total\{code="NotFound",method="fail"\} 1`,
		`standpipe_server_call_errors_total\{code="Internal",method="panic"\} 1`,
		`standpipe_server_refused_total\{code="Unimplemented"\} 1`,
		`standpipe_server_sent_bytes_total [1-9].*`,
		`standpipe_server_received_bytes_total [1-9].*`,
		`standpipe_server_shared_bytes\{maker="peer"\} .*`,
		`standpipe_server_calls_running\{method="pours"\} 1`,
		`standpipe_client_calls_running\{method="pours"\} 1`,
		`standpipe_server_call_seconds_count\{code="OK",method="sum"\} 5`,
		`standpipe_client_call_seconds_count\{code="OK",method="sum"\} 5`,
		`standpipe_server_call_seconds_count\{code="Internal",method="panic"\} 1`,
		`standpipe_client_call_seconds_count\{code="Unimplemented",method="missing"\} 1`,
		`standpipe_server_call_seconds_bucket\{code="OK",method="sum",le="10"\} 5`)
	if text := scrape(); strings.Contains(text, `standpipe_server_call_seconds_count{code="Unimplemented"`) {
		t.Errorf("a handler of a missing method is measured:\n%s", text)
	}
	st.Close()
	awaits(t, scrape, `standpipe_server_streams 0`, `standpipe_server_streams_blocked 0`, `standpipe_server_calls_running\{method="pours"\} 0`,
		`standpipe_server_call_seconds_count\{code="Canceled",method="pours"\} 1`, `standpipe_client_call_seconds_count\{code="Canceled",method="pours"\} 1`)

	peer.Close()
	awaits(t, scrape, `standpipe_server_connections 0`, `standpipe_server_accepted_total 1`, `standpipe_server_calls_total\{method="sum"\} 5`)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Two servers of a program are told apart by their labels, and may have names of their own.
func TestTwoServers(t *testing.T) {
	calls := prompipe.NewCalls(&prompipe.Config{Namespace: "mine", Buckets: []float64{1}})
	one, peer := start(t, calls)
	two, _ := start(t, calls)
	reg := prometheus.NewPedanticRegistry()
	err := errors.Join(reg.Register(calls),
		reg.Register(prompipe.NewCollector(one, &prompipe.Config{Labels: prometheus.Labels{"server": "one"}})),
		reg.Register(prompipe.NewCollector(two, &prompipe.Config{Labels: prometheus.Labels{"server": "two"}})))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rpc.Call[int](t.Context(), peer, "sum", []int{1}); err != nil {
		t.Fatal(err)
	}
	awaits(t, scraper(t, reg), `standpipe_server_calls_total\{method="sum",server="one"\} 1`, `standpipe_server_calls_total\{method="sum",server="two"\} 0`,
		`mine_server_call_seconds_bucket\{code="OK",method="sum",le="1"\} 1`)
	if err := reg.Register(prompipe.NewCollector(two, nil)); err == nil {
		t.Error("a collector with other labels was taken beside those")
	}
}
