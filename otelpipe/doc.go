// Package otelpipe makes OpenTelemetry traces and metrics of standpipe's calls and streams, on both sides.
//
//	s := rpc.NewServer(&rpc.ServerConfig{Wrap: []rpc.Interceptor{otelpipe.Server(nil)}})
//	p, err := rpc.Dial(ctx, "calc", &rpc.DialConfig{Wrap: []rpc.Interceptor{otelpipe.Client(nil)}})
//
// A span of the caller goes on in the handler: its W3C Trace Context travels as the call's metadata (traceparent, tracestate, and baggage where there
// is some). Spans and metrics are named and marked as OpenTelemetry's conventions for RPC say, with the system "standpipe", and with the user who
// calls, as the kernel vouches, in the server's spans. A stream is one span, as long as it is open.
//
// [Observe] adds what only the server as a whole knows: connections, streams that are blocked, memory.
package otelpipe
