package rpc

import (
	"encoding"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/ugorji/go/codec"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// A Codec encodes values. Its methods are called by many goroutines at once. It must not be able to run code: what
// comes is not to be trusted.
type Codec interface {
	// Name is 1 to 32 of a-z, 0-9, '.', '+' and '-'. Both sides must mean the same by it.
	Name() string
	// Append appends the encoding of v to b, and returns the extended slice. It may use b's capacity, and nothing of b
	// itself.
	Append(b []byte, v any) ([]byte, error)
	// Unmarshal decodes the whole of b into v, a pointer. It must not keep b, nor parts of it.
	Unmarshal(b []byte, v any) error
}

// The codecs that every server takes.
var (
	// MessagePack is the default (https://msgpack.org): compact, for any Go value. Fields are named by their json tags,
	// []byte is bin, time.Time is the timestamp extension; into an any, a map is decoded as map[string]any, and bin and str
	// both as string. Values nested deeper than 128 are refused, as are those that claim more elements than they have bytes.
	// (A short value can still become a large one where its Go type is large: give limits to what you take.)
	//
	// Structs and slices of booleans, numbers, strings, bytes, and such structs and slices, are encoded and decoded without reflection; with a map, a pointer, an interface or a
	// time in them they take several times as long. Where that matters: a value whose type has the methods MarshalMsg and UnmarshalMsg that github.com/tinylib/msgp generates is
	// encoded and decoded by those. What arrives was looked over before UnmarshalMsg gets it, as all values are. Give fields the same name in their json and msg
	// tags: Describe and the JSON codec go by the former.
	MessagePack Codec = newMsgpack()

	// JSON is encoding/json, and Protobuf's own JSON form for its messages (https://protobuf.dev/programming-guides/json).
	JSON Codec = jsonCodec{}

	// Protobuf is for proto.Message values only (https://protobuf.dev), and for struct{}, which is no bytes.
	Protobuf Codec = protobufCodec{}
)

type msgpackCodec struct {
	enc, dec sync.Pool
}

func newMsgpack() *msgpackCodec {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.RawToString = true
	h.MapType = reflect.TypeFor[map[string]any]()
	h.MaxDepth = maxDepth
	h.TypeInfos = codec.NewTypeInfos([]string{"json"})
	if err := h.SetBytesExt(typeBuffer, extBuffer, bufferExt{}); err != nil {
		panic(err) // the type or the number would be wrong
	}
	m := &msgpackCodec{}
	m.enc.New = func() any { return &encoder{enc: codec.NewEncoderBytes(nil, h)} }
	m.dec.New = func() any { return codec.NewDecoderBytes(nil, h) }
	return m
}

func (*msgpackCodec) Name() string { return "msgpack" }

// What generated code has. https://pkg.go.dev/github.com/tinylib/msgp/msgp#Marshaler
type (
	marshaler interface {
		MarshalMsg(b []byte) ([]byte, error)
	}
	unmarshaler interface {
		UnmarshalMsg(b []byte) (left []byte, err error)
	}
)

func (m *msgpackCodec) Append(b []byte, v any) ([]byte, error) {
	if own, ok := v.(marshaler); ok && !isNil(v) {
		out, err := own.MarshalMsg(b)
		if err != nil {
			return b, err
		}
		return out, nil
	}
	f := formOf(reflect.TypeOf(v))
	if f.err != nil {
		return b, f.err
	}
	if p := reflect.ValueOf(v); f.plan != nil && !p.IsNil() && f.plan.placed(p.UnsafePointer()) {
		return f.plan.enc(b, p.UnsafePointer()), nil
	}
	return m.encode(b, v)
}

// encode is Append by the library.
func (m *msgpackCodec) encode(b []byte, v any) ([]byte, error) {
	e := m.enc.Get().(*encoder)
	e.out = b[len(b):cap(b)]
	e.enc.ResetBytes(&e.out)
	err := e.enc.Encode(v)
	e.enc.ResetBytes(nil) // the pool must not hold the caller's memory
	if err == nil {
		b = append(b, e.out...)
	}
	e.out = nil
	m.enc.Put(e)
	return b, err
}

// encoder is the library's, with a place for what it appends to, which has to be on the heap.
type encoder struct {
	enc *codec.Encoder
	out []byte
}

func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

func (m *msgpackCodec) Unmarshal(b []byte, v any) error {
	own, generated := v.(unmarshaler)
	if !generated {
		f := formOf(reflect.TypeOf(v))
		if f.err != nil {
			return f.err
		}
		if p := reflect.ValueOf(v); f.plan != nil && !p.IsNil() {
			if rest, ok := f.plan.dec(b, p.UnsafePointer()); ok && len(rest) == 0 {
				return nil
			}
		}
	}
	if err := scan(b); err != nil {
		return err
	}
	if generated {
		left, err := own.UnmarshalMsg(b)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%T.UnmarshalMsg has left %d bytes of a whole value", v, len(left))
		}
		return err
	}
	return m.decode(b, v)
}

// decode is Unmarshal by the library.
func (m *msgpackCodec) decode(b []byte, v any) error {
	dec := m.dec.Get().(*codec.Decoder)
	dec.ResetBytes(b)
	err := dec.Decode(v)
	dec.ResetBytes(nil)
	m.dec.Put(dec)
	return err
}

// appendBin appends the head of a byte string of n bytes, more than 255.
// https://github.com/msgpack/msgpack/blob/master/spec.md#bin-format-family
func appendBin(b []byte, n int) []byte {
	if n < 1<<16 {
		return binary.BigEndian.AppendUint16(append(b, 0xc5), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0xc6), uint32(n))
}

// cutBin is the contents of a byte string of more than 255 bytes that fills b.
func cutBin(b []byte) (value []byte, ok bool) {
	switch {
	case len(b) > 3 && b[0] == 0xc5 && int(binary.BigEndian.Uint16(b[1:])) == len(b)-3:
		return b[3:], true
	case len(b) > 5 && b[0] == 0xc6 && uint64(binary.BigEndian.Uint32(b[1:])) == uint64(len(b)-5):
		return b[5:], true
	}
	return nil, false
}

// form is what is known of a type that is encoded or decoded.
type form struct {
	err  error // it can't be
	plan *plan // of what it points to; nil: the library does it
}

var forms sync.Map // reflect.Type to *form

// formOf refuses types with fields that no other program can have: the library would send nil for a func, empty a
// channel, and look into the inside of a Protobuf message.
func formOf(t reflect.Type) *form {
	if f, ok := forms.Load(t); ok {
		return f.(*form)
	}
	f := &form{}
	if t != nil {
		f.err = encodableAll(t, map[reflect.Type]bool{})
		if f.err == nil && t.Kind() == reflect.Pointer {
			f.plan = planOf(t.Elem(), nil)
		}
	}
	forms.Store(t, f)
	return f
}

func encodableAll(t reflect.Type, seen map[reflect.Type]bool) error {
	if seen[t] {
		return nil
	}
	seen[t] = true
	if t == typeBuffer {
		return nil
	}
	if t.Kind() == reflect.Pointer && t.Implements(reflect.TypeFor[proto.Message]()) {
		return fmt.Errorf("a %v goes by Protobuf or JSON only", t)
	}
	if t.Implements(reflect.TypeFor[encoding.BinaryMarshaler]()) {
		return nil // it is sent as what it says it is
	}
	switch t.Kind() {
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return fmt.Errorf("a %v can't be sent", t)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return encodableAll(t.Elem(), seen)
	case reflect.Map:
		return errors.Join(encodableAll(t.Key(), seen), encodableAll(t.Elem(), seen))
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			if f.IsExported() && f.Tag.Get("json") != "-" {
				if err := encodableAll(f.Type, seen); err != nil {
					return fmt.Errorf("%v.%s: %w", t, f.Name, err)
				}
			}
		}
	}
	return nil
}

type jsonCodec struct{}

func (jsonCodec) Name() string { return "json" }

func (jsonCodec) Append(b []byte, v any) ([]byte, error) {
	if m, ok := v.(proto.Message); ok {
		return protojson.MarshalOptions{}.MarshalAppend(b, m)
	}
	out, err := json.Marshal(v)
	return append(b, out...), err
}

func (jsonCodec) Unmarshal(b []byte, v any) error {
	if m, err := protoInto(v); err == nil {
		return protojson.Unmarshal(b, m)
	}
	return json.Unmarshal(b, v)
}

type protobufCodec struct{}

func (protobufCodec) Name() string { return "protobuf" }

var errNoProto = errors.New("the protobuf codec takes proto.Message values only")

func (protobufCodec) Append(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case proto.Message:
		return proto.MarshalOptions{}.MarshalAppend(b, v)
	case struct{}, *struct{}:
		return b, nil
	}
	return b, fmt.Errorf("%w, not %T", errNoProto, v)
}

// Unmarshal takes a message, or a pointer to a pointer to one, which it makes.
func (protobufCodec) Unmarshal(b []byte, v any) error {
	if _, nothing := v.(*struct{}); nothing {
		return nil
	}
	m, err := protoInto(v)
	if err != nil {
		return err
	}
	return proto.Unmarshal(b, m)
}

// protoInto is the message that v is, or points to a pointer to, which is made then.
func protoInto(v any) (proto.Message, error) {
	if m, ok := v.(proto.Message); ok {
		return m, nil
	}
	p := reflect.ValueOf(v)
	if p.Kind() == reflect.Pointer && p.Elem().Kind() == reflect.Pointer && p.Elem().Type().Implements(reflect.TypeFor[proto.Message]()) {
		fresh := reflect.New(p.Elem().Type().Elem())
		p.Elem().Set(fresh)
		return fresh.Interface().(proto.Message), nil
	}
	return nil, fmt.Errorf("%w, not %T", errNoProto, v)
}
