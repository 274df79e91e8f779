package rpc

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/standpipe/standpipe/msg"
)

// Buffers travel beside the value that they are part of, which has their places only. spec/memory.md, 4.10.

// NewBuffer makes a Buffer of n bytes to be sent to this peer, in a value: a field of type msg.Buffer in what a call or stream
// sends, or in the result of a handler (PeerFrom has its peer). Where memory can be shared with the peer, it is not copied. A Buffer
// that was sent belongs to the peer, whatever becomes of the call; until then it is the caller's to Release.
//
// Where all memory that may be shared (MaxShared) is in use, it waits for some to be released until ctx ends; the error says who has it then.
// What was in the memory before is there still.
func (p *Peer) NewBuffer(ctx context.Context, n int) (msg.Buffer, error) {
	if n >= msg.EagerRelease { // it may be here already; and of less, the processor's caches have several
		p.poll()
	}
	if b, err := p.ch.NewBuffer(never, n); !errors.Is(err, context.Canceled) {
		return b, err
	}
	p.waiting.Add(1) // releases must be read
	defer p.waiting.Add(-1)
	p.readOn()
	return p.ch.NewBuffer(ctx, n)
}

// never is a context for what is not to wait.
var never = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// A Parcel is a value with Buffers beside it that it does not refer to: for Protobuf messages and Raws, which can't have fields of type
// msg.Buffer. What is encoded is Value alone; whoever does not use a Parcel gets that, without the Buffers.
type Parcel[T any] struct {
	Value   T
	Buffers []msg.Buffer
}

type parcel interface {
	parts() (value any, buffers []msg.Buffer)
}

type parcelInto interface {
	into() (value any, buffers *[]msg.Buffer)
	held() reflect.Type
}

func (p Parcel[T]) parts() (any, []msg.Buffer)  { return kindOf[T]().value(&p.Value), p.Buffers }
func (p *Parcel[T]) into() (any, *[]msg.Buffer) { return &p.Value, &p.Buffers }
func (p *Parcel[T]) held() reflect.Type         { return reflect.TypeFor[T]() }

// Keep makes received Buffers stay when the handler of ctx has returned, which releases all others that came with its call or stream. Whoever
// keeps one has to Release it.
func Keep(ctx context.Context, buffers ...msg.Buffer) {
	c := callFrom(ctx)
	if c == nil {
		return
	}
	if m := c.more.Load(); m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.received = slices.DeleteFunc(m.received, func(b msg.Buffer) bool { return slices.Contains(buffers, b) })
	}
}

// receive: the handler's until it returns.
func (c *callContext) receive(buffers []msg.Buffer) {
	if len(buffers) == 0 {
		return
	}
	m := c.state()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.received = append(slices.DeleteFunc(m.received, func(b msg.Buffer) bool { return !b.Valid() }), buffers...)
}

// takeReceived is what the handler has not kept.
func (c *callContext) takeReceived() []msg.Buffer {
	m := c.more.Load()
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.received
	m.received = nil
	return list
}

func releaseAll(list []msg.Buffer) {
	for _, b := range list {
		b.Release()
	}
}

// bytesOf is how many bytes the Buffers have in all.
func bytesOf(list []msg.Buffer) (n int64) {
	for _, b := range list {
		n += int64(b.Len())
	}
	return n
}

// private is how many of them are memory of this process alone.
func private(list []msg.Buffer) (n int64) {
	for _, b := range list {
		if !b.Shared() {
			n += int64(b.Len())
		}
	}
	return n
}

var typeBuffer = reflect.TypeFor[msg.Buffer]()

var bearers sync.Map // reflect.Type to bool

// bears says whether a value of type t may have Buffers in it, but for those in interfaces.
func bears(t reflect.Type) bool {
	if t == nil {
		return false
	}
	if b, ok := bearers.Load(t); ok {
		return b.(bool)
	}
	b := t.Implements(reflect.TypeFor[parcel]()) || bearsAny(t, map[reflect.Type]bool{})
	bearers.Store(t, b)
	return b
}

func bearsAny(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t == typeBuffer || seen[t] {
		return t == typeBuffer
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return bearsAny(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); travels(f) && bearsAny(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

func travels(f reflect.StructField) bool { return f.IsExported() && f.Tag.Get("json") != "-" }

var errDeepBuffers = fmt.Errorf("it is nested deeper than %d, and has Buffers", maxDepth)

// eachBuffer gives f each Buffer in v, and puts what f returns in its place, where set.
func eachBuffer(v reflect.Value, set bool, depth int, f func(msg.Buffer) (msg.Buffer, error)) (err error) {
	if depth > maxDepth {
		return errDeepBuffers
	}
	if v.Type() == typeBuffer {
		b, err := f(v.Interface().(msg.Buffer))
		if set && err == nil {
			v.Set(reflect.ValueOf(b))
		}
		return err
	}
	if !bears(v.Type()) {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return eachBuffer(v.Elem(), set, depth+1, f)
		}
	case reflect.Slice, reflect.Array:
		for i := 0; i < v.Len() && err == nil; i++ {
			err = eachBuffer(v.Index(i), set, depth+1, f)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next() && err == nil; {
			e := it.Value()
			if set {
				e = reflect.New(e.Type()).Elem()
				e.Set(it.Value())
			}
			if err = eachBuffer(e, set, depth+1, f); set && err == nil {
				v.SetMapIndex(it.Key(), e)
			}
		}
	case reflect.Struct:
		for i := 0; i < v.NumField() && err == nil; i++ {
			if travels(v.Type().Field(i)) {
				err = eachBuffer(v.Field(i), set, depth+1, f)
			}
		}
	}
	return err
}

// eachBufferOf is eachBuffer of a value or a pointer to one.
func eachBufferOf(v any, set bool, f func(msg.Buffer) (msg.Buffer, error)) error {
	at := reflect.ValueOf(v)
	if p := formOf(at.Type()).plan; p != nil && p.each != nil && !at.IsNil() {
		return p.each(at.UnsafePointer(), func(b *msg.Buffer) error {
			other, err := f(*b)
			if set && err == nil {
				*b = other
			}
			return err
		})
	}
	return eachBuffer(at, set, 0, f)
}

// takeApart is what of v is to be encoded, and the Buffers that go beside it, each marked with its place.
func takeApart(v any) (value any, buffers []msg.Buffer, err error) {
	if p, ok := v.(parcel); ok {
		value, buffers = p.parts()
		return value, buffers, nil
	}
	err = eachBufferOf(v, false, func(b msg.Buffer) (msg.Buffer, error) {
		if b == (msg.Buffer{}) {
			return b, nil
		}
		if slices.Contains(buffers, b) {
			return b, fmt.Errorf("it has the same Buffer of %d bytes twice", b.Len())
		}
		b.SetMark(len(buffers))
		buffers = append(buffers, b)
		return b, nil
	})
	if err != nil {
		unmark(buffers)
		buffers = nil
	}
	return v, buffers, err
}

// unmark ends the marks, when the value is encoded: a codec must not find those of another value.
func unmark(buffers []msg.Buffer) {
	for _, b := range buffers {
		b.SetMark(-1)
	}
}

// decodeWith is decode for a value that has Buffers beside it. Those that have no place in it are released; where it fails, all of them are.
func decodeWith(c Codec, b []byte, v any, buffers []msg.Buffer) error {
	if p, ok := v.(parcelInto); ok {
		value, list := p.into()
		err := decode(c, b, value)
		if err == nil {
			*list = buffers
		} else {
			releaseAll(buffers)
		}
		return err
	}
	if len(buffers) == 0 && !bears(reflect.TypeOf(v)) {
		return decode(c, b, v)
	}
	err := decode(c, b, v)
	left := slices.Clone(buffers)
	if err == nil {
		err = eachBufferOf(v, true, func(b msg.Buffer) (msg.Buffer, error) {
			switch at := b.Mark(); {
			case b == (msg.Buffer{}):
				return b, nil
			case at < 0 || at >= len(left):
				return b, fmt.Errorf("it refers to buffer %d of %d", at, len(left))
			case left[at] == msg.Buffer{}:
				return b, fmt.Errorf("it refers to buffer %d twice", at)
			default:
				b = left[at]
				left[at] = msg.Buffer{}
				return b, nil
			}
		})
	}
	if err != nil {
		left = buffers
	}
	releaseAll(left)
	return err
}

// unsendable is the error of a send of Buffers that did not happen; nil: it was sent, or the connection has ended.
func unsendable(ctx context.Context, err error) *Error {
	switch {
	case err != nil && ctx.Err() != nil:
		return contextError(ctx)
	case errors.Is(err, msg.ErrTooLarge):
		return &Error{Code: ResourceExhausted, Message: err.Error(), cause: err}
	case errors.Is(err, msg.ErrReleased):
		return &Error{Code: InvalidArgument, Message: err.Error(), cause: err}
	}
	return nil
}

// bufferExt is a Buffer in MessagePack: the extension type 1, with its place.
type bufferExt struct{}

const (
	extBuffer = 1
	noBuffer  = 255
)

func (bufferExt) WriteExt(v any) []byte {
	b, ok := v.(msg.Buffer)
	if p, pointer := v.(*msg.Buffer); pointer {
		b, ok = *p, true
	}
	if !ok || b == (msg.Buffer{}) {
		return []byte{noBuffer}
	}
	if b.Mark() < 0 {
		panic(fmt.Errorf("a Buffer of %d bytes is where it can't be found: in an interface", b.Len()))
	}
	return []byte{byte(b.Mark())}
}

func (bufferExt) ReadExt(v any, src []byte) {
	b := v.(*msg.Buffer)
	switch {
	case len(src) != 1:
		panic(fmt.Errorf("a reference to a Buffer has %d bytes, not 1", len(src)))
	case src[0] == noBuffer:
		*b = msg.Buffer{}
	default:
		*b = msg.MarkedBuffer(int(src[0]))
	}
}
