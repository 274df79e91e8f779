// Package rpc calls methods of another program, over one connection, in both directions.
//
// A server handles methods, which are plain functions, and serves on any net.Listener:
//
//	s := rpc.NewServer(nil)
//	rpc.Handle(s, "upper", func(ctx context.Context, in string) (string, error) {
//		return strings.ToUpper(in), nil
//	})
//	ln, err := standpipe.Listen("engine", nil)
//	...
//	err = s.Serve(ctx, ln)
//
// A client dials, and calls; any number of goroutines may share one Peer:
//
//	p, err := rpc.Dial(ctx, "engine", nil)
//	...
//	out, err := rpc.Call[string](ctx, p, "upper", "hello")
//
// The context bounds a call: its deadline travels with the call, and when the context ends the handler's context ends,
// too. So it does when the caller's program dies. In a handler, PeerFrom says who calls, and is a Peer itself: what the
// caller serves by DialConfig.Server can be called back.
//
// An error that a handler makes with Errorf arrives as it is: an *Error with one of the sixteen codes of gRPC, a message
// and details. CodeOf tells the code of any error.
//
// Values are encoded by MessagePack, by default; JSON and Protobuf are there, too, and a server takes all of them. Fields
// are named by their json tags. A Protobuf message always goes by Protobuf. A [Raw] goes as it is.
//
// # Streams
//
// A stream carries any number of values each way, in order:
//
//	rpc.HandleStream(s, "tokens", func(ctx context.Context, st *rpc.Stream[string, string]) error {
//		prompt, err := st.Recv()
//		...
//		for token := range model.Generate(ctx, prompt) {
//			if err := st.Send(token); err != nil {
//				return err // the caller has gone, or does not want more
//			}
//		}
//		return nil
//	})
//
//	st, err := rpc.Open[string, string](ctx, p, "tokens")
//	defer st.Close()
//	err = st.Send("once upon a time")
//	for token, err := range st.All() {
//		...
//	}
//
// A receiver that does not keep up holds up the sender of its own stream, and nobody else. Closing a stream, the end of its
// context, and the end of the connection end the handler's context.
//
// # Around calls
//
// Metadata travels beside the values: WithMetadata and WithReply in the caller, MetadataFrom, SetHeader and SetTrailer in the
// handler. An [Interceptor] runs around calls and streams, on either side. Server.Require asks more of a method's callers than the
// endpoint does. Describe lists the methods of the other side, with JSON Schemas of their values.
//
// When the context of Serve ends, peers are told: Peer.Draining. What runs may finish.
package rpc
