package rpc

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"unsafe"

	"github.com/standpipe/standpipe/msg"
)

// The plans of single values. https://github.com/msgpack/msgpack/blob/master/spec.md

var scalars = map[reflect.Kind]*plan{
	reflect.Bool:    {enc: encBool, dec: decBool, empty: func(p unsafe.Pointer) bool { return !*(*bool)(p) }},
	reflect.String:  {enc: encString, dec: decString, empty: func(p unsafe.Pointer) bool { return *(*string)(p) == "" }},
	reflect.Int:     signed[int](),
	reflect.Int8:    signed[int8](),
	reflect.Int16:   signed[int16](),
	reflect.Int32:   signed[int32](),
	reflect.Int64:   signed[int64](),
	reflect.Uint:    unsigned[uint](),
	reflect.Uint8:   unsigned[uint8](),
	reflect.Uint16:  unsigned[uint16](),
	reflect.Uint32:  unsigned[uint32](),
	reflect.Uint64:  unsigned[uint64](),
	reflect.Float32: {enc: encFloat32, dec: decFloat32, empty: func(p unsafe.Pointer) bool { return *(*uint32)(p) == 0 }},
	reflect.Float64: {enc: encFloat64, dec: decFloat64, empty: func(p unsafe.Pointer) bool { return *(*uint64)(p) == 0 }},
}

func signed[T int | int8 | int16 | int32 | int64]() *plan {
	return &plan{
		enc: func(b []byte, p unsafe.Pointer) []byte { return appendInt(b, int64(*(*T)(p))) },
		dec: func(b []byte, p unsafe.Pointer) ([]byte, bool) {
			n, rest, ok := cutInt(b)
			*(*T)(p) = T(n)
			return rest, ok && int64(T(n)) == n
		},
		empty: func(p unsafe.Pointer) bool { return *(*T)(p) == 0 },
	}
}

func unsigned[T uint | uint8 | uint16 | uint32 | uint64]() *plan {
	return &plan{
		enc: func(b []byte, p unsafe.Pointer) []byte { return appendUint(b, uint64(*(*T)(p))) },
		dec: func(b []byte, p unsafe.Pointer) ([]byte, bool) {
			n, rest, ok := cutUint(b)
			*(*T)(p) = T(n)
			return rest, ok && uint64(T(n)) == n
		},
		empty: func(p unsafe.Pointer) bool { return *(*T)(p) == 0 },
	}
}

func encBool(b []byte, p unsafe.Pointer) []byte {
	if *(*bool)(p) {
		return append(b, 0xc3)
	}
	return append(b, 0xc2)
}

func decBool(b []byte, p unsafe.Pointer) ([]byte, bool) {
	if len(b) == 0 || b[0]&^1 != 0xc2 {
		return nil, false
	}
	*(*bool)(p) = b[0] == 0xc3
	return b[1:], true
}

func encFloat32(b []byte, p unsafe.Pointer) []byte {
	return binary.BigEndian.AppendUint32(append(b, 0xca), math.Float32bits(*(*float32)(p)))
}

func decFloat32(b []byte, p unsafe.Pointer) ([]byte, bool) {
	if len(b) < 5 || b[0] != 0xca {
		return nil, false
	}
	*(*float32)(p) = math.Float32frombits(binary.BigEndian.Uint32(b[1:]))
	return b[5:], true
}

func encFloat64(b []byte, p unsafe.Pointer) []byte {
	return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(*(*float64)(p)))
}

func decFloat64(b []byte, p unsafe.Pointer) ([]byte, bool) {
	if len(b) < 9 || b[0] != 0xcb {
		return nil, false
	}
	*(*float64)(p) = math.Float64frombits(binary.BigEndian.Uint64(b[1:]))
	return b[9:], true
}

// appendInt writes a positive number as a signed one, too, as the library does.
func appendInt(b []byte, n int64) []byte {
	switch {
	case n >= -32 && n <= math.MaxInt8:
		return append(b, byte(n))
	case n == int64(int8(n)):
		return append(b, 0xd0, byte(n))
	case n == int64(int16(n)):
		return binary.BigEndian.AppendUint16(append(b, 0xd1), uint16(n))
	case n == int64(int32(n)):
		return binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(n))
}

func appendUint(b []byte, n uint64) []byte {
	switch {
	case n <= math.MaxInt8:
		return append(b, byte(n))
	case n <= math.MaxUint8:
		return append(b, 0xcc, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), n)
}

// cutInt reads any number that fits: other languages write a positive one as an unsigned one.
func cutInt(b []byte) (n int64, rest []byte, ok bool) {
	if len(b) > 0 && b[0] >= 0xcc && b[0] <= 0xcf {
		n, rest, ok := cutUint(b)
		return int64(n), rest, ok && n <= math.MaxInt64
	}
	switch {
	case len(b) == 0:
	case b[0] <= 0x7f, b[0] >= 0xe0:
		return int64(int8(b[0])), b[1:], true
	case b[0] == 0xd0 && len(b) >= 2:
		return int64(int8(b[1])), b[2:], true
	case b[0] == 0xd1 && len(b) >= 3:
		return int64(int16(binary.BigEndian.Uint16(b[1:]))), b[3:], true
	case b[0] == 0xd2 && len(b) >= 5:
		return int64(int32(binary.BigEndian.Uint32(b[1:]))), b[5:], true
	case b[0] == 0xd3 && len(b) >= 9:
		return int64(binary.BigEndian.Uint64(b[1:])), b[9:], true
	}
	return 0, nil, false
}

func cutUint(b []byte) (n uint64, rest []byte, ok bool) {
	switch {
	case len(b) == 0:
	case b[0] <= 0x7f:
		return uint64(b[0]), b[1:], true
	case b[0] == 0xcc && len(b) >= 2:
		return uint64(b[1]), b[2:], true
	case b[0] == 0xcd && len(b) >= 3:
		return uint64(binary.BigEndian.Uint16(b[1:])), b[3:], true
	case b[0] == 0xce && len(b) >= 5:
		return uint64(binary.BigEndian.Uint32(b[1:])), b[5:], true
	case b[0] == 0xcf && len(b) >= 9:
		return binary.BigEndian.Uint64(b[1:]), b[9:], true
	case b[0] >= 0xd0 && b[0] <= 0xd3:
		n, rest, ok := cutInt(b)
		return uint64(n), rest, ok && n >= 0
	}
	return 0, nil, false
}

func encString(b []byte, p unsafe.Pointer) []byte {
	s := *(*string)(p)
	switch n := len(s); {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	case n < 1<<8:
		b = append(b, 0xd9, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0xda), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(n))
	}
	return append(b, s...)
}

func decString(b []byte, p unsafe.Pointer) ([]byte, bool) {
	if len(b) == 0 || b[0]&0xe0 != 0xa0 && (b[0] < 0xd9 || b[0] > 0xdb) {
		return nil, false
	}
	s, rest, ok := cutBlock(b, 0xd9, int(b[0]&0x1f))
	if ok {
		*(*string)(p) = string(s)
	}
	return rest, ok
}

func encBytes(b []byte, p unsafe.Pointer) []byte {
	s := *(*[]byte)(p)
	switch n := len(s); {
	case s == nil:
		return append(b, 0xc0)
	case n < 1<<8:
		b = append(b, 0xc4, byte(n))
	default:
		b = appendBin(b, n)
	}
	return append(b, s...)
}

func decBytes(b []byte, p unsafe.Pointer) ([]byte, bool) {
	if len(b) > 0 && b[0] == 0xc0 {
		*(*[]byte)(p) = nil
		return b[1:], true
	}
	if len(b) == 0 || b[0] < 0xc4 || b[0] > 0xc6 {
		return nil, false
	}
	s, rest, ok := cutBlock(b, 0xc4, 0)
	if ok {
		*(*[]byte)(p) = append(make([]byte, 0, len(s)), s...)
	}
	return rest, ok
}

// cutBlock cuts the bytes of a string, or of bytes: b begins with first or one of the two behind it, by the size of the length; or is of n bytes.
func cutBlock(b []byte, first byte, n int) (block, rest []byte, ok bool) {
	head := 1
	switch {
	case b[0] == first && len(b) >= 2:
		head, n = 2, int(b[1])
	case b[0] == first+1 && len(b) >= 3:
		head, n = 3, int(binary.BigEndian.Uint16(b[1:]))
	case b[0] == first+2 && len(b) >= 5:
		head, n = 5, int(binary.BigEndian.Uint32(b[1:]))
	case b[0] >= first && b[0] <= first+2:
		return nil, nil, false
	}
	if n > len(b)-head {
		return nil, nil, false
	}
	return b[head : head+n], b[head+n:], true
}

// A Buffer is as bufferExt has it. Who encodes has looked whether each has its place: see placed.
func encBuffer(b []byte, p unsafe.Pointer) []byte {
	place := byte(noBuffer)
	if buffer := *(*msg.Buffer)(p); buffer != (msg.Buffer{}) {
		place = byte(buffer.Mark())
	}
	return append(b, 0xd4, extBuffer, place)
}

func decBuffer(b []byte, p unsafe.Pointer) ([]byte, bool) {
	if len(b) < 3 || b[0] != 0xd4 || b[1] != extBuffer {
		return nil, false
	}
	if *(*msg.Buffer)(p) = (msg.Buffer{}); b[2] != noBuffer {
		*(*msg.Buffer)(p) = msg.MarkedBuffer(int(b[2]))
	}
	return b[3:], true
}

// placed says whether all Buffers of a value have their places.
func (p *plan) placed(at unsafe.Pointer) bool {
	return p.each == nil || p.each(at, func(b *msg.Buffer) error {
		if *b != (msg.Buffer{}) && b.Mark() < 0 {
			return errNoPlace
		}
		return nil
	}) == nil
}

var errNoPlace = errors.New("a Buffer has no place")
