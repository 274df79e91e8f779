package rpc

import (
	"reflect"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/standpipe/standpipe/msg"
)

// kind is what is known of a type. Its values live in a pool while streams encode and decode them, since a codec takes them by
// pointer and they could not stay on the stack; those of calls, in values.
type kind[T any] struct {
	pool  sync.Pool // of *T
	inner bool      // a codec must be given what T holds: an interface, or a pointer to a Protobuf message
	bears bool      // there may be Buffers in it
	codec Codec     // the one that it asks for, or nil
	plan  *plan     // of a struct, for MessagePack; or nil
}

var kinds sync.Map // reflect.Type to *kind of it

func kindOf[T any]() *kind[T] {
	t := reflect.TypeFor[T]()
	k, ok := kinds.Load(t)
	if !ok {
		var zero T
		fresh := &kind[T]{bears: bears(t), codec: codecOf(zero),
			inner: t.Kind() == reflect.Interface || t.Implements(reflect.TypeFor[proto.Message]())}
		if !fresh.inner && t.Kind() == reflect.Struct && !t.Implements(reflect.TypeFor[parcel]()) {
			fresh.plan = formOf(reflect.PointerTo(t)).plan
		}
		k, _ = kinds.LoadOrStore(t, fresh)
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

// encode is encode of what sent returned.
func (k *kind[T]) encode(c Codec, b []byte, value any) (out, tail []byte, err error) {
	return encodeBy(k.plan, c, b, value)
}

// decode decodes b into v, with the Buffers beside it.
func (k *kind[T]) decode(c Codec, b []byte, v *T, buffers []msg.Buffer) error {
	if k.bears || len(buffers) > 0 {
		return decodeWith(c, b, v, buffers)
	}
	return decodeBy(k.plan, c, b, v)
}

// values is the argument and the result of a call, at either side. When the call is over they stay in the memory that it had: the next one to have that
// is likely to have the same types, and need not look for anything.
type values[In, Out any] struct {
	in  In
	out Out
	*signature[In, Out]
}

// signature is what is known of the two types.
type signature[In, Out any] struct {
	ins  *kind[In]
	outs *kind[Out]
	pool sync.Pool // of *values
}

var signatures sync.Map // reflect.Type of values to their *signature

func signatureOf[In, Out any]() *signature[In, Out] {
	t := reflect.TypeFor[values[In, Out]]()
	s, ok := signatures.Load(t)
	if !ok {
		s, _ = signatures.LoadOrStore(t, &signature[In, Out]{ins: kindOf[In](), outs: kindOf[Out]()})
	}
	return s.(*signature[In, Out])
}

// idle is values that no call has.
type idle interface {
	clear() // makes them ready for the next call
	free()
}

func (v *values[In, Out]) free() { v.pool.Put(v) }

func (v *values[In, Out]) clear() {
	var in In
	var out Out
	v.in, v.out = in, out
}

// takeValues is those that are kept, or others where they are of other types.
func takeValues[In, Out any](kept *idle) *values[In, Out] {
	old := *kept
	*kept = nil
	if v, ok := old.(*values[In, Out]); ok {
		return v
	}
	if old != nil {
		old.free()
	}
	s := signatureOf[In, Out]()
	if v, ok := s.pool.Get().(*values[In, Out]); ok {
		return v
	}
	return &values[In, Out]{signature: s}
}
