package otelpipe

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/standpipe/standpipe/rpc"
)

// Config says where traces and metrics go. A nil *Config and the zero one take OpenTelemetry's global providers.
type Config struct {
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider

	// Propagator is how a trace travels. Zero: W3C Trace Context and Baggage, whatever the global one is, since that is what
	// standpipe's wire has a place for.
	Propagator propagation.TextMapPropagator

	// Skip says of methods that nothing is to be told of them. Zero: those that begin with "standpipe." are told of as all are.
	Skip func(method string) bool
}

const scope = "github.com/standpipe/standpipe/otelpipe"

func (cfg *Config) filled() Config {
	var c Config
	if cfg != nil {
		c = *cfg
	}
	if c.TracerProvider == nil {
		c.TracerProvider = otel.GetTracerProvider()
	}
	if c.MeterProvider == nil {
		c.MeterProvider = otel.GetMeterProvider()
	}
	if c.Propagator == nil {
		c.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	}
	if c.Skip == nil {
		c.Skip = func(string) bool { return false }
	}
	return c
}

// side is the calls of one side.
type side struct {
	Config
	tracer trace.Tracer
	took   metric.Float64Histogram
}

// seconds are the bounds of the histogram, for calls on one machine: OpenTelemetry's begin where a local call has long ended.
var seconds = []float64{5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

func newSide(cfg *Config, name, of string) side {
	c := cfg.filled()
	took, err := c.MeterProvider.Meter(scope).Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(of), metric.WithExplicitBucketBoundaries(seconds...))
	if err != nil {
		otel.Handle(err) // took does nothing then
	}
	return side{c, c.TracerProvider.Tracer(scope), took}
}

// Server is for rpc.ServerConfig.Wrap. It should be the first one there, so that the others run within the span.
func Server(cfg *Config) rpc.Interceptor {
	s := newSide(cfg, "rpc.server.call.duration", "How long handlers took, and streams were open.")
	return func(ctx context.Context, call *rpc.CallInfo, next func(context.Context) error) error {
		if s.Skip(call.Method) {
			return next(ctx)
		}
		ctx = s.Propagator.Extract(ctx, carrier(rpc.MetadataFrom(ctx)))
		return s.run(ctx, call, trace.SpanKindServer, caller(ctx), next)
	}
}

// Client is for rpc.DialConfig.Wrap. It should be the last one there, so that each try of an interceptor that tries again is a span.
func Client(cfg *Config) rpc.Interceptor {
	s := newSide(cfg, "rpc.client.call.duration", "How long calls took, and streams were open.")
	return func(ctx context.Context, call *rpc.CallInfo, next func(context.Context) error) error {
		if s.Skip(call.Method) {
			return next(ctx)
		}
		return s.run(ctx, call, trace.SpanKindClient, nil, func(ctx context.Context) error {
			md := carrier{}
			s.Propagator.Inject(ctx, md)
			return next(rpc.WithMetadata(ctx, rpc.Metadata(md)))
		})
	}
}

// caller is who calls.
func caller(ctx context.Context) []attribute.KeyValue {
	peer := rpc.PeerFrom(ctx)
	if peer == nil {
		return nil
	}
	id := peer.Identity()
	if id.User == "" {
		return nil // the connection does not tell
	}
	return []attribute.KeyValue{attribute.String("enduser.id", id.User), attribute.Int("standpipe.peer.pid", id.PID)}
}

// run runs next in a span, and measures it.
func (s *side) run(ctx context.Context, call *rpc.CallInfo, kind trace.SpanKind, who []attribute.KeyValue, next func(context.Context) error) error {
	marks := []attribute.KeyValue{attribute.String("rpc.system.name", "standpipe"), attribute.String("rpc.method", call.Method)}
	ctx, span := s.tracer.Start(ctx, call.Method, trace.WithSpanKind(kind), trace.WithAttributes(marks...), trace.WithAttributes(who...))
	start := time.Now()
	code, returned := rpc.Internal, false // what a panic becomes
	var err error
	defer func() {
		marks = append(marks, attribute.String("rpc.response.status_code", code.String()))
		if code != rpc.OK {
			marks = append(marks, attribute.String("error.type", code.String()))
		}
		span.SetAttributes(marks[2:]...)
		switch {
		case !returned:
			span.SetStatus(codes.Error, "the handler panicked")
		case fault(code, kind):
			span.SetStatus(codes.Error, err.Error())
		}
		s.took.Record(ctx, time.Since(start).Seconds(), metric.WithAttributes(marks...))
		span.End()
	}()
	err = next(ctx)
	code, returned = rpc.CodeOf(err), true
	return err
}

// fault says whether a code is an error of the side that the span is of: a server that refuses what is wrong has done well.
func fault(code rpc.Code, kind trace.SpanKind) bool {
	if kind == trace.SpanKindClient {
		return code != rpc.OK
	}
	switch code {
	case rpc.Unknown, rpc.DeadlineExceeded, rpc.Unimplemented, rpc.Internal, rpc.Unavailable, rpc.DataLoss:
		return true
	}
	return false
}

// carrier is Metadata as a propagator wants it. Where a key comes more than once, the last value counts: what is nearest to the wire.
type carrier rpc.Metadata

// Get is a method of propagation.TextMapCarrier, as the next two.
func (c carrier) Get(key string) string {
	if values := c[key]; len(values) > 0 {
		return values[len(values)-1]
	}
	return ""
}

func (c carrier) Set(key, value string) { c[key] = []string{value} }

func (c carrier) Keys() []string {
	var keys []string
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}
