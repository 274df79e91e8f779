package rpc

import "context"

// An Interceptor runs around calls: in a ServerConfig around the handlers of a server, in a DialConfig around what this side
// calls. It must call next once, with ctx or a context made from it, and return its error, or another one; or not call it, and return an
// error. Several are nested, the first one outside. It is called by many goroutines at once.
//
// For a stream next runs the whole of it: it returns when the handler has, or, around Open, when the stream has ended. There the
// error that an interceptor returns counts for Open alone, while the stream is not open.
type Interceptor func(ctx context.Context, call *CallInfo, next func(context.Context) error) error

// CallInfo tells an Interceptor what is called. It must not be changed.
type CallInfo struct {
	Method string
	Stream bool

	// In and Out, of a unary call, are the argument and the result: pointers, or in a caller what it has given to
	// Peer.Call. What Out points to is there when next has returned nil. Both are nil for a stream.
	In, Out any
}

// wrap runs f inside of the interceptors.
func wrap(ctx context.Context, list []Interceptor, call *CallInfo, f func(context.Context) error) error {
	if len(list) == 0 {
		return f(ctx)
	}
	return list[0](ctx, call, func(ctx context.Context) error { return wrap(ctx, list[1:], call, f) })
}

// wrapError is why a stream was not opened.
func wrapError(err error) error {
	if err == nil {
		return &Error{Code: Internal, Message: "an interceptor has not called next, and returned no error"}
	}
	return err
}

// WithCodec makes a context whose calls and streams are encoded by c, instead of DialConfig.Codec. c must be one of MessagePack,
// JSON, Protobuf and that of the config. Protobuf messages, and a Raw with a codec, are always encoded by their own.
func WithCodec(ctx context.Context, c Codec) context.Context {
	o := outgoingOf(ctx)
	o.codec = c
	return context.WithValue(ctx, outgoingKey{}, &o)
}
