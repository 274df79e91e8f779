package rpc

import (
	"context"
	"reflect"

	"google.golang.org/protobuf/proto"

	"github.com/standpipe/standpipe/msg"
)

// The thin skin over the untyped core: values to and from bytes.

// Handle makes h the handler of method: 1 to 255 bytes of UTF-8. It runs in a goroutine for each call, with a context that
// ends when the caller cancels, when the call's deadline passes, when the connection ends, and when h has returned. The values
// belong to h (but for a Raw, whose memory is h's until it returns); use struct{} where there is none. An error of h reaches the
// caller as an *Error: one that Errorf made as it is, others with the code that CodeOf tells and their text. A panic is Internal for
// the caller, and is logged with its stack.
//
// Values are encoded by the codec that the caller has chosen.
//
// Handle panics where the method is handled already, and for a name that begins with "standpipe.". Methods may be added while
// the server serves.
func Handle[In, Out any](s *Server, method string, h func(context.Context, In) (Out, error)) {
	s.handle(method, unaryRoute(s, method, h))
}

func unaryRoute[In, Out any](s *Server, method string, h func(context.Context, In) (Out, error)) *route {
	run := func(c *served, v *values[In, Out]) (err error) {
		if err := v.ins.decode(c.codec, c.value, &v.in, c.with); err != nil {
			return Errorf(InvalidArgument, "the %s value of %q can't be decoded as %T: %w", c.codec.Name(), method, v.in, err)
		}
		if len(s.cfg.Wrap) == 0 {
			v.out, err = h(c.ctx, v.in)
		} else {
			err = wrap(c.ctx, s.cfg.Wrap, &CallInfo{Method: method, In: &v.in, Out: &v.out}, func(ctx context.Context) (err error) {
				v.out, err = h(ctx, v.in)
				return err
			})
		}
		if err != nil {
			return err
		}
		var value any
		if value, c.beside, err = v.outs.sent(&v.out); err == nil {
			c.out, c.tail, err = v.outs.encode(c.codec, c.begin(), value)
			unmark(c.beside)
		}
		if err != nil {
			return Errorf(Internal, "the result of %q can't be encoded by %s: %w", method, c.codec.Name(), err)
		}
		return nil
	}
	return &route{in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), unary: func(c *served) error {
		v := takeValues[In, Out](&c.values)
		err := run(c, v)
		if len(s.cfg.Wrap) == 0 { // or somebody may have kept them
			c.values = v
		}
		return err
	}}
}

// HandleStream makes h the handler of method, a stream. It gets the values that the opener sends by Recv, and sends its own
// by Send; In is what it receives. The stream ends when h returns: with io.EOF for the opener where h returns nil, and else as an
// error of Handle's. What the opener still sends then is thrown away. The context is as Handle's; when it ends, Recv and Send do.
func HandleStream[In, Out any](s *Server, method string, h func(context.Context, *Stream[In, Out]) error) {
	s.handle(method, &route{in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), stream: func(c *served, core *stream) error {
		st := newTyped[In, Out](core)
		if len(s.cfg.Wrap) == 0 {
			return h(c.ctx, st)
		}
		return wrap(c.ctx, s.cfg.Wrap, &CallInfo{Method: method, Stream: true}, func(ctx context.Context) error { return h(ctx, st) })
	}})
}

// Call calls method with in at the other side, and waits for the result until ctx ends: Canceled or DeadlineExceeded then,
// at once, and the handler's context ends, too. Errors are *Errors: what the handler returned; Unavailable where the
// connection is over, or ends before the result is here (whether the handler ran is not known then); Unimplemented where
// there is no such method, or it is a stream; InvalidArgument where in can't be encoded, or not be decoded over there;
// ResourceExhausted where it is too large; PermissionDenied where the method is not for this user.
//
// Where the other side runs as many calls as it takes at once (ServerConfig.MaxCalls), Call waits.
func Call[Out, In any](ctx context.Context, p *Peer, method string, in In) (Out, error) {
	c := calls.Get().(*call)
	v := takeValues[In, Out](&c.values)
	v.in = in
	sh := shape{v.outs.codec, v.ins.bears || v.ins.inner, v.outs.bears, v.ins.plan, v.outs.plan}
	if len(p.o.wrap) > 0 { // somebody may keep the values
		c.recycle()
		err := p.wrapped(ctx, method, v.ins.value(&v.in), &v.out, sh)
		return v.out, err
	}
	c, err := p.call(ctx, c, method, v.ins.value(&v.in), &v.out, sh)
	out := v.out
	v.clear()
	if c == nil {
		v.free()
		return out, err
	}
	c.values = v
	c.recycle()
	return out, err
}

// Call is the function Call for values whose types are not known before: it encodes in, a value or a pointer to one, and decodes the
// result into out, a pointer. A *Raw gets the encoded result, in the memory that its Data has, if that is large enough. This way, a
// call of Raws allocates nothing.
func (p *Peer) Call(ctx context.Context, method string, in, out any) error {
	sh := shape{in: true, out: true}
	if _, ok := out.(proto.Message); ok {
		sh.codec = Protobuf
	}
	if len(p.o.wrap) > 0 {
		return p.wrapped(ctx, method, in, out, sh)
	}
	c, err := p.call(ctx, calls.Get().(*call), method, in, out, sh)
	c.recycle()
	return err
}

// shape is what is known of a call's values: the codec that the result can only be decoded by, or nil, whether they may have Buffers, and their
// plans, or nil.
type shape struct {
	codec    Codec
	in, out  bool
	enc, dec *plan
}

func (p *Peer) wrapped(ctx context.Context, method string, in, out any, sh shape) error {
	return wrap(ctx, p.o.wrap, &CallInfo{Method: method, In: in, Out: out}, func(ctx context.Context) error {
		c, err := p.call(ctx, calls.Get().(*call), method, in, out, sh)
		c.recycle()
		return err
	})
}

// call makes the unary call c. What it returns is c, to be recycled, or nil where c is still waited for.
func (p *Peer) call(ctx context.Context, c *call, method string, in, out any, sh shape) (*call, error) {
	codec := sh.codec
	if own := codecOf(in); own != nil {
		codec = own
	}
	b, codec, o, err := p.beginOpen(ctx, c.buf[:0], &c.head, flagValue, method, codec)
	if err != nil {
		return c, err
	}
	var beside []msg.Buffer
	if _, raw := in.(*Raw); sh.in && !raw && bears(reflect.TypeOf(in)) {
		in, beside, err = takeApart(in)
	}
	var tail []byte
	if err == nil {
		b, tail, err = encodeBy(sh.enc, codec, b, in)
		unmark(beside)
	}
	c.buf = b
	if codec != MessagePack {
		c.head = head{} // another codec may have lost what it was to append to
	}
	if err != nil {
		c.buf, c.head = nil, head{}
		return c, Errorf(InvalidArgument, "the argument of %q can't be encoded by %s: %w", method, codec.Name(), err)
	}
	c.wantMeta = o.header != nil || o.trailer != nil
	if c, err = p.do(ctx, c, b, tail, beside); err != nil {
		return c, err
	}
	if o.header != nil {
		*o.header = c.header
	}
	if o.trailer != nil {
		*o.trailer = c.trailer
	}
	if c.fail != nil {
		return c, c.fail
	}
	if raw, ok := out.(*Raw); ok {
		raw.take(codec, c.value, &c.data)
		return c, nil
	}
	if beside := c.beside; sh.out || len(beside) > 0 {
		c.beside = nil
		err = decodeWith(codec, c.value, out, beside)
	} else {
		err = decodeBy(sh.dec, codec, c.value, out)
	}
	if err != nil {
		return c, Errorf(Internal, "the %s result of %q can't be decoded as %T: %w", codec.Name(), method, out, err)
	}
	return c, nil
}

// beginOpen is an open frame without the value, which will be encoded by codec; where that is nil, by that of the context or
// of the connection. It is in the memory of b, which may begin with it already, as h says.
func (p *Peer) beginOpen(ctx context.Context, b []byte, h *head, flag uint8, method string, codec Codec) ([]byte, Codec, outgoingInfo, error) {
	o := outgoingOf(ctx)
	if ctx.Err() != nil {
		return b, nil, o, contextError(ctx)
	}
	if codec == nil {
		codec = o.codec
	}
	left := timeLeft(ctx)
	usual := codec == nil && left == 0 && len(o.meta) == 0
	if usual && h.method == method && method != "" {
		return b[:h.size], p.codecs[0], o, nil
	}
	*h = head{}
	err := checkMethod(method)
	if err == nil {
		err = o.meta.check()
	}
	if err != nil {
		return b, nil, o, &Error{Code: InvalidArgument, Message: err.Error()}
	}
	place := 0
	if codec == nil {
		codec = p.codecs[0]
	} else if place = p.placeOf(codec); place < 0 {
		return b, nil, o, Errorf(InvalidArgument, "the codec %q is not one of this connection", codec.Name())
	}
	b = appendOpen(b, flag, uint8(place), method, left, o.meta)
	if usual {
		*h = head{method, len(b)}
	}
	return b, codec, o, nil
}

func (p *Peer) placeOf(c Codec) int {
	for i, own := range p.codecs {
		if own.Name() == c.Name() {
			return i
		}
	}
	return -1
}

// codecOf is the codec that v can only be encoded by; nil: any.
func codecOf(v any) Codec {
	switch v := v.(type) {
	case Raw:
		return v.Codec
	case *Raw:
		return v.Codec
	case proto.Message:
		return Protobuf
	case parcel:
		value, _ := v.parts()
		return codecOf(value)
	}
	return nil
}

// encode appends v, of which a large part may be left as it is, in tail.
func encode(c Codec, b []byte, v any) (out, tail []byte, err error) {
	switch v := v.(type) {
	case Raw:
		tail, err = v.encoded(c)
		return b, tail, err
	case *Raw:
		tail, err = v.encoded(c)
		return b, tail, err
	case *[]byte:
		if c == MessagePack && len(*v) > smallValue { // as the library would, but for the copy
			return appendBin(b, len(*v)), *v, nil
		}
	}
	b, err = c.Append(b, v)
	return b, nil, err
}

// encodeBy is encode of a value whose plan is p, where it is not nil.
func encodeBy(p *plan, c Codec, b []byte, v any) (out, tail []byte, err error) {
	if p != nil && c == MessagePack {
		if at := reflect.ValueOf(v).UnsafePointer(); at != nil && p.placed(at) {
			return p.enc(b, at), nil, nil
		}
	}
	return encode(c, b, v)
}

// decodeBy is decode into a value whose plan is p, where it is not nil.
func decodeBy(p *plan, c Codec, b []byte, v any) error {
	if p != nil && c == MessagePack {
		if rest, ok := p.dec(b, reflect.ValueOf(v).UnsafePointer()); ok && len(rest) == 0 {
			return nil
		}
	}
	return decode(c, b, v)
}

// decode decodes b into v. A *Raw becomes b itself.
func decode(c Codec, b []byte, v any) error {
	switch v := v.(type) {
	case *Raw:
		*v = Raw{Codec: c, Data: b}
		return nil
	case *[]byte:
		if value, ok := cutBin(b); ok && c == MessagePack && len(value) > smallValue {
			*v = append([]byte(nil), value...)
			return nil
		}
	}
	return c.Unmarshal(b, v)
}
