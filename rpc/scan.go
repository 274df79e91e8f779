package rpc

import (
	"encoding/binary"
	"errors"
)

const maxDepth = 128 // of arrays and maps in a MessagePack value

var (
	errDeep  = errors.New("arrays or maps are nested deeper than 128")
	errWhole = errors.New("it is not one whole MessagePack value: it is cut off, or something follows it")
)

// scan looks over a MessagePack value before it is decoded, without recursion: the decoder trusts the counts that
// arrays, maps and strings claim, and skips fields that it does not know by recursion without a limit. What passes is one
// whole value, not too deep, and claims no more elements than it has bytes. (https://github.com/msgpack/msgpack/blob/master/spec.md)
func scan(b []byte) error {
	var few [9]uint64 // most values are not deep
	if err := scanWith(few[:], b); err != errDeep {
		return err
	}
	var left [maxDepth + 1]uint64
	return scanWith(left[:], b)
}

// scanWith has left for the values that are still to come, of each container that is open.
func scanWith(left []uint64, b []byte) error {
	left[0] = 1
	for d := 0; ; {
		for left[d] == 0 {
			if d == 0 {
				if len(b) != 0 {
					return errWhole
				}
				return nil
			}
			d--
		}
		left[d]--
		size, values, ok := measure(b)
		if !ok || size > uint64(len(b)) || values > uint64(len(b))-size {
			return errWhole
		}
		b = b[size:]
		if values > 0 {
			if d++; d == len(left) {
				return errDeep
			}
			left[d] = values
		}
	}
}

// measure is the size of the value that b begins with, without the values in it, and how many those are.
func measure(b []byte) (size, values uint64, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	c := b[0]
	// number reads the 1, 2 or 4 bytes behind the first.
	number := func(log byte) (n, end uint64) {
		end = 1 + 1<<log
		if ok = uint64(len(b)) >= end; !ok {
			return 0, end
		}
		switch log {
		case 0:
			return uint64(b[1]), end
		case 1:
			return uint64(binary.BigEndian.Uint16(b[1:])), end
		}
		return uint64(binary.BigEndian.Uint32(b[1:])), end
	}
	switch {
	case c <= 0x7f, c >= 0xe0, c == 0xc0, c == 0xc2, c == 0xc3: // fixint, nil, bool
		return 1, 0, true
	case c <= 0x8f: // fixmap
		return 1, 2 * uint64(c&15), true
	case c <= 0x9f: // fixarray
		return 1, uint64(c & 15), true
	case c <= 0xbf: // fixstr
		return 1 + uint64(c&31), 0, true
	case c == 0xc1: // never used
		return 0, 0, false
	case c <= 0xc6: // bin
		n, end := number(c - 0xc4)
		return end + n, 0, ok
	case c <= 0xc9: // ext
		n, end := number(c - 0xc7)
		return end + 1 + n, 0, ok
	case c <= 0xcb: // float
		return 1 + 4<<(c-0xca), 0, true
	case c <= 0xcf: // uint
		return 1 + 1<<(c-0xcc), 0, true
	case c <= 0xd3: // int
		return 1 + 1<<(c-0xd0), 0, true
	case c <= 0xd8: // fixext
		return 2 + 1<<(c-0xd4), 0, true
	case c <= 0xdb: // str
		n, end := number(c - 0xd9)
		return end + n, 0, ok
	case c <= 0xdd: // array
		n, end := number(c - 0xdc + 1)
		return end, n, ok
	default: // map
		n, end := number(c - 0xde + 1)
		return end, 2 * n, ok
	}
}
