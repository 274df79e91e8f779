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
// are named by their json tags.
package rpc
