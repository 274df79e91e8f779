package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"iter"

	"github.com/standpipe/standpipe/msg"
)

// A Stream is one end of a stream: it receives values of type In, and sends values of type Out, in order. At its other end
// In and Out are exchanged.
//
// Send and Recv may be called at the same time, and several goroutines may Send: the values of each arrive in its order. One
// goroutine at a time receives; others wait for it. Close may be called at any time, and ends all of them.
//
// A Send waits while the other side has more unread than it takes: 64 KiB at first, and up to 4 MiB where its user keeps
// up. Other streams and calls go on meanwhile. It ends with the stream's context, the stream, or the connection.
type Stream[In, Out any] struct {
	s    *stream
	ins  *kind[In]
	outs *kind[Out]
}

func newTyped[In, Out any](s *stream) *Stream[In, Out] {
	return &Stream[In, Out]{s, kindOf[In](), kindOf[Out]()}
}

// Open opens a stream: method runs at the other side when Open has returned, or at least its opening is on the way. In is
// what this side receives, and Out what it sends. ctx is of the whole stream, not only of Open: when it ends, the stream ends at both
// sides, and a Recv or Send that begins after that fails, whatever has come meanwhile.
//
// The stream takes one of the calls that the other side runs at once, until it has ended: until Recv has returned io.EOF or another
// error, or Close was called.
func Open[In, Out any](ctx context.Context, p *Peer, method string) (*Stream[In, Out], error) {
	c := kindOf[Out]().codec
	if c == nil {
		c = kindOf[In]().codec
	}
	s, err := p.openStream(ctx, method, c)
	if err != nil {
		return nil, err
	}
	return newTyped[In, Out](s), nil
}

// openStream opens a stream whose values are encoded by c; nil: the default.
func (p *Peer) openStream(ctx context.Context, method string, c Codec) (*stream, error) {
	if len(p.o.wrap) == 0 {
		return p.startStream(ctx, method, c)
	}
	// The interceptors run around the whole stream, in a goroutine of its own.
	type result struct {
		s   *stream
		err error
	}
	results := make(chan result, 1)
	go func() {
		err := wrap(ctx, p.o.wrap, &CallInfo{Method: method, Stream: true}, func(ctx context.Context) error {
			s, err := p.startStream(ctx, method, c)
			if err != nil {
				return err
			}
			over := make(chan struct{})
			s.mu.Lock()
			if s.over = over; s.done { // while it was being opened
				s.finished()
			}
			s.mu.Unlock()
			results <- result{s, nil}
			<-over
			return s.status()
		})
		select {
		case results <- result{nil, wrapError(err)}: // it was not opened
		default:
		}
	}()
	o := <-results
	return o.s, o.err
}

func (p *Peer) startStream(ctx context.Context, method string, c Codec) (*stream, error) {
	b, codec, _, err := p.beginOpen(ctx, nil, &head{}, flagStream, method, c)
	if err != nil {
		return nil, err
	}
	opening := calls.Get().(*call)
	opening.buf, opening.head = nil, head{} // it stays as long as the stream
	quick, err := p.out.begin(ctx, opening, len(b), true)
	if err != nil {
		opening.recycle()
		return nil, err
	}
	s := opening.stream
	s.ctx, s.codec = ctx, codec
	binary.LittleEndian.PutUint32(b, s.id)
	p.send(ctx, quick, b, nil) // errors end the connection, which ends the stream
	s.sent()
	if ctx.Done() != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.inEnd == nil { // only now: a cancel must follow the open
			s.stop = context.AfterFunc(ctx, func() { s.stopped(contextError(ctx)) })
		}
	}
	return s, nil
}

// Send sends v. When it returns, v was encoded and may be changed. An error is io.EOF where the other side has ended the stream:
// Recv tells how. Otherwise it is an *Error: InvalidArgument where v can't be encoded, ResourceExhausted where it is too large (the
// stream goes on then), FailedPrecondition after CloseSend, and else how the stream has ended.
func (st *Stream[In, Out]) Send(v Out) error {
	s := st.s
	s.send.Lock()
	defer s.send.Unlock()
	box := st.outs.get()
	*box = v
	defer st.outs.put(box)
	buf := frames.Get().(*[]byte)
	b := appendFrame((*buf)[:0], s.id, typeData, flagValue, 0)
	value, beside, err := st.outs.sent(box)
	var tail []byte
	if err == nil {
		b, tail, err = st.outs.encode(s.codec, b, value)
		unmark(beside)
	}
	if err != nil {
		putFrame(buf, b)
		return Errorf(InvalidArgument, "a %T can't be encoded by %s: %w", v, s.codec.Name(), err)
	}
	if err = s.sendHeader(false); err == nil {
		err = s.transmit(b, tail, beside)
	}
	putFrame(buf, b)
	return err
}

// Recv receives the next value. Behind the last one it returns io.EOF: the handler has returned without an error, or, in a
// handler, the opener has called CloseSend. Any other error is an *Error, and ends the stream: what the handler returned; Canceled or
// DeadlineExceeded where the context has ended; Unavailable where the connection has; Internal or InvalidArgument for a value that
// can't be decoded, which ends nothing.
func (st *Stream[In, Out]) Recv() (In, error) {
	var zero In
	s := st.s
	s.recv.Lock()
	defer s.recv.Unlock()
	value, owned, beside, err := s.next()
	if err != nil {
		return zero, err
	}
	box := st.ins.get()
	defer st.ins.put(box)
	if raw, ok := any(box).(*Raw); ok {
		releaseAll(beside)
		raw.take(s.codec, value, &owned)
		return *box, nil
	}
	if len(beside) > 0 && !s.ours {
		s.hctx.receive(beside)
	}
	err = st.ins.decode(s.codec, value, box, beside)
	msg.Free(owned)
	if err != nil {
		code := InvalidArgument
		if s.ours {
			code = Internal
		}
		return zero, Errorf(code, "a %s value can't be decoded as %T: %w", s.codec.Name(), zero, err)
	}
	return *box, nil
}

// All is the values that Recv returns, until the end; another error is the last pair. Leaving the loop early does not close the
// stream.
func (st *Stream[In, Out]) All() iter.Seq2[In, error] {
	return func(yield func(In, error) bool) {
		for {
			v, err := st.Recv()
			if errors.Is(err, io.EOF) || !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// CloseSend says that nothing more will be sent: the other side's Recv returns io.EOF behind what was. Further Sends fail. In a handler it
// only does that; returning ends the stream.
func (st *Stream[In, Out]) CloseSend() error { return st.s.closeSend() }

// Close ends the stream. In its opener, the handler's context ends, and what it sends is thrown away; Recv and Send return Canceled.
// Where the stream has ended already, and further times, it does nothing. It never waits.
func (st *Stream[In, Out]) Close() error {
	st.s.close()
	return nil
}

// Header, in the opener, waits for the first thing that the handler sends, and is its header. An error is that of the stream.
func (st *Stream[In, Out]) Header() (Metadata, error) {
	if !st.s.ours {
		return nil, errNoOpener
	}
	return st.s.awaitHeader()
}

// Trailer, in the opener, is the handler's trailer, when Recv has returned io.EOF or an *Error; it is nil before.
func (st *Stream[In, Out]) Trailer() Metadata {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if !st.s.told {
		return nil
	}
	return st.s.trailer
}

var errNoOpener = errors.New("rpc: only the opener of a stream gets a header")
