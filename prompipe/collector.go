package prompipe

import (
	"cmp"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/standpipe/standpipe/rpc"
)

// Config says how metrics are named. A nil *Config and the zero one are fine for a program with one server.
type Config struct {
	// Namespace is what the names begin with. Zero: standpipe.
	Namespace string

	// Labels are on all metrics. A program with several servers tells them apart by these.
	Labels prometheus.Labels

	// Buckets are the bounds of the histograms of Calls, in seconds. Zero: from 5 microseconds to 10 seconds.
	Buckets []float64
}

func (cfg *Config) filled() Config {
	var c Config
	if cfg != nil {
		c = *cfg
	}
	c.Namespace = cmp.Or(c.Namespace, "standpipe")
	if len(c.Buckets) == 0 {
		c.Buckets = []float64{5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
	}
	return c
}

// A Collector is a prometheus.Collector of what one rpc.Server does.
type Collector struct {
	s *rpc.Server

	connections, accepted, sent, received *prometheus.Desc
	streams, blocked, queued, shared      *prometheus.Desc
	refused                               *prometheus.Desc // by code
	calls, open                           *prometheus.Desc // by method
	failed                                *prometheus.Desc // by method and code
}

// NewCollector makes the Collector of s.
func NewCollector(s *rpc.Server, cfg *Config) *Collector {
	c := cfg.filled()
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(c.Namespace, "server", name), help, labels, c.Labels)
	}
	return &Collector{
		s:           s,
		connections: desc("connections", "Connections now."),
		accepted:    desc("accepted_total", "Connections so far."),
		sent:        desc("sent_bytes_total", "Bytes of frames and Buffers that were sent."),
		received:    desc("received_bytes_total", "Bytes of frames and Buffers that were received."),
		streams:     desc("streams", "Streams that are open, whichever side has opened them."),
		blocked:     desc("streams_blocked", "Streams of them that wait until their peer reads."),
		queued:      desc("queued_bytes", "Bytes of values that no handler is through with."),
		shared:      desc("shared_bytes", "Bytes of memory for Buffers that is shared with peers, by who made it.", "maker"),
		refused:     desc("refused_total", "Calls that reached no method.", "code"),
		calls:       desc("calls_total", "Calls that have begun, and streams.", "method"),
		open:        desc("calls_open", "Calls and streams that run now.", "method"),
		failed:      desc("call_errors_total", "Calls and streams that have failed.", "method", "code"),
	}
}

// Describe is a method of prometheus.Collector, as Collect.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.connections, c.accepted, c.sent, c.received, c.streams, c.blocked, c.queued, c.shared, c.refused, c.calls, c.open, c.failed} {
		to <- d
	}
}

func (c *Collector) Collect(to chan<- prometheus.Metric) {
	st := c.s.Stats()
	now := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	total := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	now(c.connections, int64(st.Connected))
	total(c.accepted, st.Accepted)
	total(c.sent, st.Sent)
	total(c.received, st.Received)
	var all rpc.ConnectionStats // the sums
	for _, one := range st.Connections {
		all.Streams += one.Streams
		all.Blocked += one.Blocked
		all.Queued += one.Queued
		all.Made += one.Made
		all.Taken += one.Taken
	}
	now(c.streams, int64(all.Streams))
	now(c.blocked, int64(all.Blocked))
	now(c.queued, all.Queued)
	now(c.shared, all.Made, "server")
	now(c.shared, all.Taken, "peer")
	for code, n := range st.Refused {
		total(c.refused, n, code)
	}
	for _, m := range st.Methods {
		total(c.calls, m.Calls, m.Name)
		now(c.open, int64(m.Open), m.Name)
		for code, n := range m.Errors {
			total(c.failed, n, m.Name, code)
		}
	}
}
