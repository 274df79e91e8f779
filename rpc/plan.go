package rpc

import (
	"encoding"
	"encoding/binary"
	"reflect"
	"strings"
	"unsafe"

	"github.com/ugorji/go/codec"

	"github.com/standpipe/standpipe/msg"
)

// A plan encodes and decodes the values of one type as MessagePack: what the library does by reflection, for the usual types, at a fraction of the time. What a plan
// writes is what the library would have written, byte by byte. It only reads what the library would have read in the same way; whatever else comes, an unknown field, a number
// of another kind, is left to the library, as are all types that have no plan. docs/adr/0017-plans-for-the-usual-types.md.
type plan struct {
	enc   func(b []byte, p unsafe.Pointer) []byte
	dec   func(b []byte, p unsafe.Pointer) (rest []byte, ok bool)
	empty func(p unsafe.Pointer) bool                             // for omitempty
	each  func(p unsafe.Pointer, f func(*msg.Buffer) error) error // of the Buffers in it; nil: there are none
}

// planOf is nil where the library is to do it.
func planOf(t reflect.Type, above []reflect.Type) *plan {
	for _, other := range above {
		if other == t {
			return nil // it holds itself: only the library counts how deep
		}
	}
	if t == typeBuffer {
		return &plan{encBuffer, decBuffer, func(p unsafe.Pointer) bool { return *(*msg.Buffer)(p) == msg.Buffer{} },
			func(p unsafe.Pointer, f func(*msg.Buffer) error) error { return f((*msg.Buffer)(p)) }}
	}
	if ownForm(t) || ownForm(reflect.PointerTo(t)) {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return structPlan(t, append(above, t))
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			if t.Elem().PkgPath() != "" {
				return nil
			}
			return &plan{enc: encBytes, dec: decBytes, empty: nilSlice}
		}
		return slicePlan(t, append(above, t))
	}
	return scalars[t.Kind()]
}

// ownForm says whether values of the type say themselves how they are encoded.
func ownForm(t reflect.Type) bool {
	for _, own := range []reflect.Type{reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler](), reflect.TypeFor[encoding.TextMarshaler](),
		reflect.TypeFor[encoding.TextUnmarshaler](), reflect.TypeFor[marshaler](), reflect.TypeFor[unmarshaler](), reflect.TypeFor[codec.Selfer](),
		reflect.TypeFor[codec.MissingFielder]()} {
		if t.Implements(own) {
			return true
		}
	}
	return false
}

// field is one of a struct's.
type field struct {
	key  []byte // its name, encoded
	at   uintptr
	omit bool
	*plan
}

func structPlan(t reflect.Type, above []reflect.Type) *plan {
	var fields []field
	omits := false
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Name == "_struct" || f.Anonymous || options != "" && options != "omitempty" {
			return nil
		}
		if !f.IsExported() || tag == "-" {
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		p := planOf(f.Type, above)
		if p == nil || len(tag) > 31 || options != "" && p.empty == nil {
			return nil
		}
		omits = omits || options != ""
		fields = append(fields, field{append([]byte{0xa0 | byte(len(tag))}, tag...), f.Offset, options != "", p})
	}
	if twice(fields) {
		return nil
	}
	s := &structure{fields, omits}
	p := &plan{enc: s.enc, dec: s.dec}
	for _, f := range fields {
		if f.each != nil {
			p.each = s.each
		}
	}
	return p
}

func twice(fields []field) bool {
	seen := map[string]bool{}
	for _, f := range fields {
		if seen[string(f.key)] {
			return true
		}
		seen[string(f.key)] = true
	}
	return false
}

type structure struct {
	fields []field
	omits  bool
}

func (s *structure) enc(b []byte, p unsafe.Pointer) []byte {
	n := len(s.fields)
	if s.omits {
		for i := range s.fields {
			if f := &s.fields[i]; f.omit && f.empty(unsafe.Add(p, f.at)) {
				n--
			}
		}
	}
	b = appendCount(b, n, 0x80, 0xde)
	for i := range s.fields {
		f := &s.fields[i]
		at := unsafe.Add(p, f.at)
		if f.omit && f.empty(at) {
			continue
		}
		b = append(b, f.key...)
		b = f.plan.enc(b, at)
	}
	return b
}

func (s *structure) dec(b []byte, p unsafe.Pointer) (rest []byte, ok bool) {
	n, b, ok := cutCount(b, 0x80, 0xde)
	if !ok {
		return nil, false
	}
	next := 0 // usually the fields come in the order in which they were declared
	for range n {
		f := s.find(b, next)
		if f < 0 {
			return nil, false
		}
		if b, ok = s.fields[f].plan.dec(b[len(s.fields[f].key):], unsafe.Add(p, s.fields[f].at)); !ok {
			return nil, false
		}
		next = f + 1
	}
	return b, true
}

func (s *structure) each(p unsafe.Pointer, f func(*msg.Buffer) error) error {
	for i := range s.fields {
		if each := s.fields[i].plan.each; each != nil {
			if err := each(unsafe.Add(p, s.fields[i].at), f); err != nil {
				return err
			}
		}
	}
	return nil
}

// find is the field whose key b begins with, or -1. It tries that at next first, and those behind it.
func (s *structure) find(b []byte, next int) int {
	for range s.fields {
		if next >= len(s.fields) {
			next = 0
		}
		if key := s.fields[next].key; len(b) >= len(key) && string(b[:len(key)]) == string(key) {
			return next
		}
		next++
	}
	return -1
}

// slicePlan is of slices of what has a plan. Its elements are moved and made by reflection's own means, so that the garbage collector knows them.
func slicePlan(t reflect.Type, above []reflect.Type) *plan {
	elem := planOf(t.Elem(), above)
	if elem == nil {
		return nil
	}
	size := t.Elem().Size()
	p := &plan{
		enc: func(b []byte, p unsafe.Pointer) []byte {
			s := *(*[]byte)(p) // whatever the elements are, their address and number are at the same place
			if s == nil {
				return append(b, 0xc0)
			}
			b = appendCount(b, len(s), 0x90, 0xdc)
			data := unsafe.Pointer(unsafe.SliceData(s))
			for i := range len(s) {
				b = elem.enc(b, unsafe.Add(data, uintptr(i)*size))
			}
			return b
		},
		dec: func(b []byte, p unsafe.Pointer) (rest []byte, ok bool) {
			if len(b) > 0 && b[0] == 0xc0 {
				reflect.NewAt(t, p).Elem().SetZero()
				return b[1:], true
			}
			n, b, ok := cutCount(b, 0x90, 0xdc)
			if !ok || n > len(b) {
				return nil, false
			}
			made := reflect.MakeSlice(t, n, n)
			data := made.UnsafePointer()
			for i := range n {
				if b, ok = elem.dec(b, unsafe.Add(data, uintptr(i)*size)); !ok {
					return nil, false
				}
			}
			reflect.NewAt(t, p).Elem().Set(made)
			return b, true
		},
		empty: nilSlice,
	}
	if elem.each != nil {
		p.each = func(p unsafe.Pointer, f func(*msg.Buffer) error) error {
			s := *(*[]byte)(p)
			data := unsafe.Pointer(unsafe.SliceData(s))
			for i := range len(s) {
				if err := elem.each(unsafe.Add(data, uintptr(i)*size), f); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return p
}

// nilSlice is of slices: as for the library, one without elements is not empty.
func nilSlice(p unsafe.Pointer) bool { return *(*[]byte)(p) == nil }

// appendCount begins a map or an array: few is its first byte for less than 16, many for more.
func appendCount(b []byte, n int, few, many byte) []byte {
	switch {
	case n < 16:
		return append(b, few|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, many), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, many+1), uint32(n))
}

func cutCount(b []byte, few, many byte) (n int, rest []byte, ok bool) {
	switch {
	case len(b) == 0:
	case b[0]&0xf0 == few:
		return int(b[0] & 0x0f), b[1:], true
	case b[0] == many && len(b) >= 3:
		return int(binary.BigEndian.Uint16(b[1:])), b[3:], true
	case b[0] == many+1 && len(b) >= 5:
		return int(binary.BigEndian.Uint32(b[1:])), b[5:], true
	}
	return 0, nil, false
}
