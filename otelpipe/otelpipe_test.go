package otelpipe_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/otelpipe"
	"github.com/standpipe/standpipe/pipetest"
	"github.com/standpipe/standpipe/rpc"
)

// rig is a server and a caller, whose traces and metrics are kept.
type rig struct {
	s       *rpc.Server
	peer    *rpc.Peer
	spans   *tracetest.SpanRecorder
	reader  *metric.ManualReader
	metrics *metric.MeterProvider
	tracer  trace.Tracer
}

func newRig(t *testing.T, cfg otelpipe.Config) *rig {
	t.Helper()
	r := &rig{spans: tracetest.NewSpanRecorder(), reader: metric.NewManualReader()}
	traces := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans))
	r.metrics = metric.NewMeterProvider(metric.WithReader(r.reader))
	r.tracer = traces.Tracer("test")
	cfg.TracerProvider, cfg.MeterProvider = traces, r.metrics
	r.s = rpc.NewServer(&rpc.ServerConfig{Log: slog.New(slog.DiscardHandler), Wrap: []rpc.Interceptor{otelpipe.Server(&cfg)}})
	rpc.Handle(r.s, "where", func(ctx context.Context, _ struct{}) ([]string, error) {
		return []string{trace.SpanContextFromContext(ctx).TraceID().String(), baggage.FromContext(ctx).Member("who").Value()}, nil
	})
	rpc.Handle(r.s, "fail", func(_ context.Context, code rpc.Code) (int, error) { return 0, rpc.Errorf(code, "as you wish") })
	rpc.Handle(r.s, "panic", func(context.Context, int) (int, error) { panic("no") })
	rpc.HandleStream(r.s, "echo", func(ctx context.Context, st *rpc.Stream[int, int]) error {
		for n, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send(n); err != nil {
				return err
			}
		}
		return nil
	})
	r.peer = dial(t, r.s, &rpc.DialConfig{Wrap: []rpc.Interceptor{otelpipe.Client(&cfg)}})
	return r
}

// dial serves s, and calls it.
func dial(t *testing.T, s *rpc.Server, cfg *rpc.DialConfig) *rpc.Peer {
	t.Helper()
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	peer, err := rpc.Dial(t.Context(), name, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		peer.Close()
		<-peer.Done()
	})
	return peer
}

// span is the one of that kind and name; it may be about to end.
func (r *rig) span(t *testing.T, kind trace.SpanKind, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for _, s := range r.spans.Ended() {
			if s.SpanKind() == kind && s.Name() == name {
				return s
			}
		}
	}
	t.Fatalf("there is no %v span %q", kind, name)
	return nil
}

func mark(s sdktrace.ReadOnlySpan, key string) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

// The caller's span, the client's, and the server's are one trace, each the parent of the next, over the wire.
func TestTraceGoesOn(t *testing.T) {
	r := newRig(t, otelpipe.Config{})
	member, err := baggage.NewMember("who", "alice")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	ctx, root := r.tracer.Start(baggage.ContextWithBaggage(t.Context(), bag), "root")
	got, err := rpc.Call[[]string](ctx, r.peer, "where", struct{}{})
	root.End()
	if err != nil || got[0] != root.SpanContext().TraceID().String() || got[1] != "alice" {
		t.Fatal(got, err)
	}
	client, server := r.span(t, trace.SpanKindClient, "where"), r.span(t, trace.SpanKindServer, "where")
	if client.Parent().SpanID() != root.SpanContext().SpanID() || server.Parent().SpanID() != client.SpanContext().SpanID() || !server.Parent().IsRemote() {
		t.Errorf("root %v, client %v of %v, server %v of %v", root.SpanContext(), client.SpanContext(), client.Parent(), server.SpanContext(), server.Parent())
	}
	for key, want := range map[string]string{"rpc.system.name": "standpipe", "rpc.method": "where", "rpc.response.status_code": "OK", "error.type": ""} {
		if mark(client, key) != want || mark(server, key) != want {
			t.Errorf("%s: %q, %q, not %q", key, mark(client, key), mark(server, key), want)
		}
	}
	if want := r.peer.Identity().User; mark(server, "enduser.id") != want || mark(client, "enduser.id") != "" {
		t.Errorf("the server's span is of user %q, not %q", mark(server, "enduser.id"), want)
	}
}

// A failure marks both spans, and is an error of the side that it is an error of.
func TestFailures(t *testing.T) {
	r := newRig(t, otelpipe.Config{})
	for code, fault := range map[rpc.Code]codes.Code{rpc.NotFound: codes.Unset, rpc.Internal: codes.Error, rpc.InvalidArgument: codes.Unset, rpc.DataLoss: codes.Error} {
		r.spans.Reset()
		if _, err := rpc.Call[int](t.Context(), r.peer, "fail", code); rpc.CodeOf(err) != code {
			t.Fatal(err)
		}
		client, server := r.span(t, trace.SpanKindClient, "fail"), r.span(t, trace.SpanKindServer, "fail")
		if server.Status().Code != fault || client.Status().Code != codes.Error || !strings.Contains(client.Status().Description, "as you wish") {
			t.Errorf("%v: the server's %v, the client's %v", code, server.Status(), client.Status())
		}
		if mark(server, "rpc.response.status_code") != code.String() || mark(server, "error.type") != code.String() {
			t.Errorf("%v: %v", code, server.Attributes())
		}
	}
	r.spans.Reset()
	if _, err := rpc.Call[int](t.Context(), r.peer, "panic", 1); rpc.CodeOf(err) != rpc.Internal {
		t.Fatal(err)
	}
	if s := r.span(t, trace.SpanKindServer, "panic"); s.Status().Code != codes.Error || mark(s, "error.type") != "Internal" {
		t.Errorf("%v, %v", s.Status(), s.Attributes())
	}
	// What reaches no handler has the client's span only.
	if _, err := rpc.Call[int](t.Context(), r.peer, "missing", 1); rpc.CodeOf(err) != rpc.Unimplemented {
		t.Fatal(err)
	}
	r.span(t, trace.SpanKindClient, "missing")
}

// A stream is a span until it ends, on both sides.
func TestStreams(t *testing.T) {
	r := newRig(t, otelpipe.Config{})
	st, err := rpc.Open[int, int](t.Context(), r.peer, "echo")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := st.Send(n); err != nil {
			t.Fatal(err)
		}
		if got, err := st.Recv(); got != n || err != nil {
			t.Fatal(got, err)
		}
	}
	if n := len(r.spans.Ended()); n != 0 {
		t.Errorf("%d spans have ended while the stream is open", n)
	}
	if err := st.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	client, server := r.span(t, trace.SpanKindClient, "echo"), r.span(t, trace.SpanKindServer, "echo")
	if server.Parent().SpanID() != client.SpanContext().SpanID() || mark(client, "rpc.response.status_code") != "OK" {
		t.Errorf("%v, %v", client, server)
	}
}

// points are those of an instrument, by their marks.
func (r *rig) points(t *testing.T, name string) metricdata.Aggregation {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			if m.Name == name {
				return m.Data
			}
		}
	}
	t.Fatalf("there is no %q in %+v", name, all)
	return nil
}

func TestMetrics(t *testing.T) {
	r := newRig(t, otelpipe.Config{Skip: func(method string) bool { return method == "where" }})
	for range 3 {
		rpc.Call[int](t.Context(), r.peer, "fail", rpc.NotFound)
	}
	if _, err := rpc.Call[[]string](t.Context(), r.peer, "where", struct{}{}); err != nil {
		t.Fatal(err)
	}
	r.span(t, trace.SpanKindServer, "fail")
	for _, name := range []string{"rpc.client.call.duration", "rpc.server.call.duration"} {
		h := r.points(t, name).(metricdata.Histogram[float64])
		if len(h.DataPoints) != 1 || h.DataPoints[0].Count != 3 || h.DataPoints[0].Sum < 0 {
			t.Fatalf("%s: %+v", name, h)
		}
		if v, _ := h.DataPoints[0].Attributes.Value("rpc.response.status_code"); v.AsString() != "NotFound" {
			t.Errorf("%s: %+v", name, h.DataPoints[0].Attributes)
		}
	}
}

func TestObserve(t *testing.T) {
	r := newRig(t, otelpipe.Config{})
	reg, err := otelpipe.Observe(r.s, &otelpipe.Config{MeterProvider: r.metrics}, attribute.String("server", "calc"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rpc.Call[[]string](t.Context(), r.peer, "where", struct{}{}); err != nil {
		t.Fatal(err)
	}
	for name, least := range map[string]int64{"connections": 1, "accepted": 1, "sent": 20, "received": 20, "open": 0, "blocked": 0, "queued": 0, "shared": 0} {
		sum := r.points(t, "standpipe.server."+name).(metricdata.Sum[int64])
		if len(sum.DataPoints) != 1 || sum.DataPoints[0].Value < least {
			t.Fatalf("%s: %+v", name, sum)
		}
		if v, _ := sum.DataPoints[0].Attributes.Value("server"); v.AsString() != "calc" {
			t.Errorf("%s: %+v", name, sum)
		}
	}
	if err := reg.Unregister(); err != nil {
		t.Fatal(err)
	}
}

// OpenTelemetry's own exporter sends the spans of both sides to a collector, as its protocol wants them.
func TestExporter(t *testing.T) {
	var mu sync.Mutex
	got := map[string]string{} // by kind and name, the trace
	collect := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var in collector.ExportTraceServiceRequest
		body, err := io.ReadAll(req.Body)
		if err == nil {
			err = proto.Unmarshal(body, &in)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range in.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					got[s.Kind.String()+" "+s.Name] = string(s.TraceId)
				}
			}
		}
	}))
	defer collect.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(collect.URL), otlptracehttp.WithHTTPClient(client))
	if err != nil {
		t.Fatal(err)
	}
	traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	cfg := &otelpipe.Config{TracerProvider: traces}
	s := rpc.NewServer(&rpc.ServerConfig{Wrap: []rpc.Interceptor{otelpipe.Server(cfg)}})
	rpc.Handle(s, "sum", func(_ context.Context, n []int) (int, error) { return len(n), nil })
	peer := dial(t, s, &rpc.DialConfig{Wrap: []rpc.Interceptor{otelpipe.Client(cfg)}})
	if _, err := rpc.Call[int](t.Context(), peer, "sum", []int{1}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(traces.ForceFlush(t.Context()), traces.Shutdown(t.Context())); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	a, b := got["SPAN_KIND_CLIENT sum"], got["SPAN_KIND_SERVER sum"]
	if len(got) != 2 || a == "" || a != b {
		t.Errorf("the collector has %q", got)
	}
}

// Without an SDK nothing is recorded, and calls go on as before.
func TestWithoutSDK(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Wrap: []rpc.Interceptor{otelpipe.Server(nil)}})
	rpc.Handle(s, "meta", func(ctx context.Context, _ int) (rpc.Metadata, error) { return rpc.MetadataFrom(ctx), nil })
	md, err := rpc.Call[rpc.Metadata](t.Context(), dial(t, s, &rpc.DialConfig{Wrap: []rpc.Interceptor{otelpipe.Client(nil)}}), "meta", 1)
	if err != nil || len(md) != 0 {
		t.Errorf("%v, %v", md, err)
	}
}
