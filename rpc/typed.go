package rpc

import "context"

// Handle makes h the handler of method: 1 to 255 bytes of UTF-8. It runs in a goroutine for each call, with a context that
// ends when the caller cancels, when the call's deadline passes, and when the connection ends. The values belong to h; use
// struct{} where there is none. An error of h reaches the caller as an *Error: one that Errorf made as it is, others with
// the code that CodeOf tells and their text. A panic is Internal for the caller, and is logged with its stack.
//
// Handle panics where the method is handled already. Methods may be added while the server serves.
func Handle[In, Out any](s *Server, method string, h func(context.Context, In) (Out, error)) {
	s.handle(method, func(ctx context.Context, c Codec, b, out []byte) ([]byte, error) {
		var in In
		if err := c.Unmarshal(b, &in); err != nil {
			return nil, Errorf(InvalidArgument, "the %s value of %q can't be decoded as %T: %w", c.Name(), method, in, err)
		}
		result, err := h(ctx, in)
		if err != nil {
			return nil, err
		}
		out, err = c.Append(out, result)
		if err != nil {
			return nil, Errorf(Internal, "the result of %q can't be encoded by %s: %w", method, c.Name(), err)
		}
		return out, nil
	})
}

// Call calls method with in at the other side, and waits for the result until ctx ends: Canceled or DeadlineExceeded then,
// at once, and the handler's context ends, too. Errors are *Errors: what the handler returned; Unavailable where the
// connection is over, or ends before the result is here (whether the handler ran is not known then); Unimplemented where
// there is no such method; InvalidArgument where in can't be encoded, or not be decoded over there; ResourceExhausted where it
// is too large.
func Call[Out, In any](ctx context.Context, p *Peer, method string, in In) (Out, error) {
	var out Out
	if err := checkMethod(method); err != nil {
		return out, &Error{Code: InvalidArgument, Message: err.Error()}
	}
	if ctx.Err() != nil {
		return out, contextError(ctx)
	}
	c := p.codecs[0]
	buf := frames.Get().(*[]byte)
	b := appendOpen((*buf)[:0], 0, 0, method, timeLeft(ctx))
	b, err := c.Append(b, in)
	if err != nil {
		putFrame(buf, b)
		return out, Errorf(InvalidArgument, "the argument of %q can't be encoded by %s: %w", method, c.Name(), err)
	}
	m, value, err := p.do(ctx, b)
	putFrame(buf, b)
	if err != nil {
		return out, err
	}
	if err := c.Unmarshal(value, &out); err != nil {
		return out, Errorf(Internal, "the %s result of %q can't be decoded as %T: %w", c.Name(), method, out, err)
	}
	putMessage(m)
	return out, nil
}
