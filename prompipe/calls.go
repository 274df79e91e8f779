package prompipe

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/standpipe/standpipe/rpc"
)

// Calls measures calls and streams, each as long as it runs: a histogram of the seconds, by method and code, and how many run, for each of the two
// sides. It is a prometheus.Collector. One is enough for all servers and peers whose calls need not be told apart.
type Calls struct {
	server, client side
}

// side is the calls that arrive, or those that are made.
type side struct {
	seconds *prometheus.HistogramVec
	open    *prometheus.GaugeVec
}

// NewCalls makes Calls.
func NewCalls(cfg *Config) *Calls {
	c := cfg.filled()
	of := func(name string) side {
		return side{
			prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: c.Namespace, Subsystem: name, Name: "call_seconds", Help: "How long calls took, and streams were open.",
				ConstLabels: c.Labels, Buckets: c.Buckets}, []string{"method", "code"}),
			prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: c.Namespace, Subsystem: name, Name: "calls_running", Help: "Calls and streams that run now.",
				ConstLabels: c.Labels}, []string{"method"}),
		}
	}
	return &Calls{of("server"), of("client")}
}

// Server is for rpc.ServerConfig.Wrap. Calls that reach no handler are not seen here; a Collector counts them.
func (c *Calls) Server() rpc.Interceptor { return c.server.run }

// Client is for rpc.DialConfig.Wrap.
func (c *Calls) Client() rpc.Interceptor { return c.client.run }

func (s *side) run(ctx context.Context, call *rpc.CallInfo, next func(context.Context) error) error {
	method := strings.ToValidUTF8(call.Method, "\uFFFD") // of the caller's own; a label must be UTF-8
	open := s.open.WithLabelValues(method)
	open.Inc()
	start, code := time.Now(), rpc.Internal // what a panic becomes
	defer func() {
		open.Dec()
		s.seconds.WithLabelValues(method, code.String()).Observe(time.Since(start).Seconds())
	}()
	err := next(ctx)
	code = rpc.CodeOf(err)
	return err
}

// Describe is a method of prometheus.Collector, as Collect.
func (c *Calls) Describe(to chan<- *prometheus.Desc) {
	for _, s := range []side{c.server, c.client} {
		s.seconds.Describe(to)
		s.open.Describe(to)
	}
}

func (c *Calls) Collect(to chan<- prometheus.Metric) {
	for _, s := range []side{c.server, c.client} {
		s.seconds.Collect(to)
		s.open.Collect(to)
	}
}
