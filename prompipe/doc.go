// Package prompipe shows standpipe's servers and calls to Prometheus.
//
//	calls := prompipe.NewCalls(nil)
//	s := rpc.NewServer(&rpc.ServerConfig{Wrap: []rpc.Interceptor{calls.Server()}})
//	prometheus.MustRegister(calls, prompipe.NewCollector(s, nil))
//
// A [Collector] looks at a server when Prometheus asks, and costs calls nothing: connections, bytes, memory, streams that are blocked, calls and
// errors of each method. [Calls] measures each call with interceptors, on either side.
package prompipe
