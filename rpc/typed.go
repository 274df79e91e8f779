package rpc

import (
	"context"
	"reflect"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/standpipe/standpipe/msg"
)

// The thin skin over the untyped core: values to and from bytes.

// kind is what is known of a type. Its values live in a pool while they are encoded and decoded, since a codec takes them by
// pointer and they could not stay on the stack.
type kind[T any] struct {
	pool  sync.Pool // of *T
	inner bool      // a codec must be given what T holds: an interface, or a pointer to a Protobuf message
	bears bool      // there may be Buffers in it
	codec Codec     // the one that it asks for, or nil
}

var kinds sync.Map // reflect.Type to *kind of it

func kindOf[T any]() *kind[T] {
	t := reflect.TypeFor[T]()
	k, ok := kinds.Load(t)
	if !ok {
		var zero T
		k, _ = kinds.LoadOrStore(t, &kind[T]{bears: bears(t), codec: codecOf(zero),
			inner: t.Kind() == reflect.Interface || t.Implements(reflect.TypeFor[proto.Message]())})
	}
	return k.(*kind[T])
}

func (k *kind[T]) get() *T {
	if v, ok := k.pool.Get().(*T); ok {
		return v
	}
	return new(T)
}

func (k *kind[T]) put(v *T) {
	var zero T
	*v = zero
	k.pool.Put(v)
}

// value is what a codec is given for v.
func (k *kind[T]) value(v *T) any {
	if k.inner {
		return *v
	}
	return v
}

// sent is what of v is to be encoded, and the Buffers that go beside it.
func (k *kind[T]) sent(v *T) (value any, buffers []msg.Buffer, err error) {
	value = k.value(v)
	if k.bears || k.inner && bears(reflect.TypeOf(value)) {
		return takeApart(value)
	}
	return value, nil, nil
}

// decode decodes b into v, with the Buffers beside it.
func (k *kind[T]) decode(c Codec, b []byte, v *T, buffers []msg.Buffer) error {
	if k.bears || len(buffers) > 0 {
		return decodeWith(c, b, v, buffers)
	}
	return decode(c, b, v)
}

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
	ins, outs := kindOf[In](), kindOf[Out]()
	run := func(c *served, in *In, out *Out) (err error) {
		if err := ins.decode(c.codec, c.value, in, c.with); err != nil {
			return Errorf(InvalidArgument, "the %s value of %q can't be decoded as %T: %w", c.codec.Name(), method, *in, err)
		}
		if len(s.cfg.Wrap) == 0 {
			*out, err = h(c.ctx, *in)
		} else {
			err = wrap(c.ctx, s.cfg.Wrap, &CallInfo{Method: method, In: in, Out: out}, func(ctx context.Context) (err error) {
				*out, err = h(ctx, *in)
				return err
			})
		}
		if err != nil {
			return err
		}
		var value any
		if value, c.beside, err = outs.sent(out); err == nil {
			c.out, c.tail, err = encode(c.codec, c.begin(), value)
			unmark(c.beside)
		}
		if err != nil {
			return Errorf(Internal, "the result of %q can't be encoded by %s: %w", method, c.codec.Name(), err)
		}
		return nil
	}
	return &route{in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), unary: func(c *served) error {
		in, out := ins.get(), outs.get()
		err := run(c, in, out)
		if len(s.cfg.Wrap) == 0 { // or somebody may have kept them
			ins.put(in)
			outs.put(out)
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
	ins, outs := kindOf[In](), kindOf[Out]()
	i, o := ins.get(), outs.get()
	*i = in
	err := p.wrapped(ctx, method, ins.value(i), o, shape{outs.codec, ins.bears || ins.inner, outs.bears})
	out := *o
	if len(p.o.wrap) == 0 { // or somebody may have kept them
		ins.put(i)
		outs.put(o)
	}
	return out, err
}

// Call is the function Call for values whose types are not known before: it encodes in, a value or a pointer to one, and decodes the
// result into out, a pointer. A *Raw gets the encoded result, in the memory that its Data has, if that is large enough. This way, a
// call of Raws allocates nothing.
func (p *Peer) Call(ctx context.Context, method string, in, out any) error {
	sh := shape{nil, true, true}
	if _, ok := out.(proto.Message); ok {
		sh.codec = Protobuf
	}
	return p.wrapped(ctx, method, in, out, sh)
}

// shape is what is known of a call's values: the codec that the result can only be decoded by, or nil, and whether they may have Buffers.
type shape struct {
	codec   Codec
	in, out bool
}

func (p *Peer) wrapped(ctx context.Context, method string, in, out any, sh shape) error {
	if len(p.o.wrap) == 0 {
		return p.call(ctx, method, in, out, sh)
	}
	return wrap(ctx, p.o.wrap, &CallInfo{Method: method, In: in, Out: out}, func(ctx context.Context) error {
		return p.call(ctx, method, in, out, sh)
	})
}

// call makes a unary call.
func (p *Peer) call(ctx context.Context, method string, in, out any, sh shape) error {
	c := sh.codec
	if own := codecOf(in); own != nil {
		c = own
	}
	buf := frames.Get().(*[]byte)
	b, codec, o, err := p.beginOpen(ctx, (*buf)[:0], flagValue, method, c)
	if err != nil {
		putFrame(buf, b)
		return err
	}
	var beside []msg.Buffer
	if _, raw := in.(*Raw); sh.in && !raw && bears(reflect.TypeOf(in)) {
		in, beside, err = takeApart(in)
	}
	var tail []byte
	if err == nil {
		b, tail, err = encode(codec, b, in)
		unmark(beside)
	}
	if err != nil {
		putFrame(buf, b)
		return Errorf(InvalidArgument, "the argument of %q can't be encoded by %s: %w", method, codec.Name(), err)
	}
	answer, err := p.do(ctx, b, tail, beside, o.header != nil || o.trailer != nil)
	putFrame(buf, b)
	if err != nil {
		return err
	}
	defer answer.recycle()
	if o.header != nil {
		*o.header = answer.header
	}
	if o.trailer != nil {
		*o.trailer = answer.trailer
	}
	if answer.fail != nil {
		return answer.fail
	}
	if raw, ok := out.(*Raw); ok {
		raw.take(codec, answer.value, &answer.data)
		return nil
	}
	if beside := answer.beside; sh.out || len(beside) > 0 {
		answer.beside = nil
		err = decodeWith(codec, answer.value, out, beside)
	} else {
		err = decode(codec, answer.value, out)
	}
	if err != nil {
		return Errorf(Internal, "the %s result of %q can't be decoded as %T: %w", codec.Name(), method, out, err)
	}
	return nil
}

// beginOpen appends all of an open frame but the value, which will be encoded by codec; where that is nil, by that of the context or
// of the connection.
func (p *Peer) beginOpen(ctx context.Context, b []byte, flag uint8, method string, codec Codec) ([]byte, Codec, outgoingInfo, error) {
	o := outgoingOf(ctx)
	err := checkMethod(method)
	if err == nil {
		err = o.meta.check()
	}
	if err != nil {
		return b, nil, o, &Error{Code: InvalidArgument, Message: err.Error()}
	}
	if ctx.Err() != nil {
		return b, nil, o, contextError(ctx)
	}
	if codec == nil {
		codec = o.codec
	}
	place := 0
	if codec == nil {
		codec = p.codecs[0]
	} else if place = p.placeOf(codec); place < 0 {
		return b, nil, o, Errorf(InvalidArgument, "the codec %q is not one of this connection", codec.Name())
	}
	return appendOpen(b, flag, uint8(place), method, timeLeft(ctx), o.meta), codec, o, nil
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
