package otelpipe

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/standpipe/standpipe/rpc"
)

// observed is an instrument, and what it shows. A monotonic one only grows.
type observed struct {
	name, unit, about string
	monotonic         bool
	value             func(rpc.Stats) int64
}

var instruments = []observed{
	{"standpipe.server.connections", "{connection}", "Connections now.", false, func(st rpc.Stats) int64 { return int64(st.Connected) }},
	{"standpipe.server.accepted", "{connection}", "Connections so far.", true, func(st rpc.Stats) int64 { return st.Accepted }},
	{"standpipe.server.sent", "By", "Bytes of frames and Buffers that were sent.", true, func(st rpc.Stats) int64 { return st.Sent }},
	{"standpipe.server.received", "By", "Bytes of frames and Buffers that were received.", true, func(st rpc.Stats) int64 { return st.Received }},
	{"standpipe.server.open", "{call}", "Calls and streams that run now.", false, each(func(c rpc.ConnectionStats) int64 { return int64(c.Open) })},
	{"standpipe.server.blocked", "{stream}", "Streams that wait until their peer reads.", false, each(func(c rpc.ConnectionStats) int64 { return int64(c.Blocked) })},
	{"standpipe.server.queued", "By", "Bytes of values that no handler is through with.", false, each(func(c rpc.ConnectionStats) int64 { return c.Queued })},
	{"standpipe.server.shared", "By", "Bytes of memory for Buffers that is shared with peers.", false, each(func(c rpc.ConnectionStats) int64 { return c.Made + c.Taken })},
}

// each sums over the connections.
func each(of func(rpc.ConnectionStats) int64) func(rpc.Stats) int64 {
	return func(st rpc.Stats) (sum int64) {
		for _, c := range st.Connections {
			sum += of(c)
		}
		return sum
	}
}

// Observe shows what s does as metrics, with attrs, until Unregister of what it returns. It looks when the metrics are read, and costs calls nothing.
func Observe(s *rpc.Server, cfg *Config, attrs ...attribute.KeyValue) (metric.Registration, error) {
	meter := cfg.filled().MeterProvider.Meter(scope)
	var all []metric.Observable
	var values []metric.Int64Observable
	for _, in := range instruments {
		var o metric.Int64Observable
		var err error
		if in.monotonic {
			o, err = meter.Int64ObservableCounter(in.name, metric.WithUnit(in.unit), metric.WithDescription(in.about))
		} else {
			o, err = meter.Int64ObservableUpDownCounter(in.name, metric.WithUnit(in.unit), metric.WithDescription(in.about))
		}
		if err != nil {
			return nil, err
		}
		all, values = append(all, o), append(values, o)
	}
	with := metric.WithAttributes(attrs...)
	return meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		st := s.Stats()
		for i, in := range instruments {
			to.ObserveInt64(values[i], in.value(st), with)
		}
		return nil
	}, all...)
}
