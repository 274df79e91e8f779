package rpc

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Pure: rpc frames to and from bytes, no I/O. spec/wire.md, section 3.

const (
	headerSize = 8
	typeOpen   = 1
	typeClose  = 3
	flagValue  = 0x01
	flagTime   = 0x02
	maxDetails = 64
	maxText    = 1<<16 - 1
)

type frame struct {
	stream  uint32
	typ     uint8
	flags   uint8
	codec   uint8  // open
	code    Code   // close
	timeout uint64 // open: nanoseconds left; 0: none
	method  []byte // open; a part of the input, as the next
	value   []byte // open; close: the value, or the error's bytes
}

func appendOpen(b []byte, stream uint32, codec uint8, method string, timeout uint64) []byte {
	flags := uint8(flagValue)
	if timeout != 0 {
		flags |= flagTime
	}
	b = binary.LittleEndian.AppendUint32(b, stream)
	b = append(b, typeOpen, flags, codec, uint8(len(method)))
	if timeout != 0 {
		b = binary.LittleEndian.AppendUint64(b, timeout)
	}
	return append(b, method...)
}

func appendClose(b []byte, stream uint32, code Code) []byte {
	flags := uint8(0)
	if code == OK {
		flags = flagValue
	}
	b = binary.LittleEndian.AppendUint32(b, stream)
	return append(b, typeClose, flags, uint8(code), uint8(code>>8))
}

// appendError appends a whole close frame for e. What does not fit is cut: details beyond 64, text at a character.
func appendError(b []byte, stream uint32, e *Error, max int) []byte {
	b = appendClose(b, stream, e.Code)
	b = appendText(b, e.Message, min(maxText, max/2))
	n := len(b)
	b = append(b, 0, 0)
	count := 0
	for _, d := range e.Details {
		d.Type = strings.ToValidUTF8(d.Type, "\uFFFD")
		size := 2 + len(d.Type) + 4 + len(d.Value)
		if count == maxDetails || len(d.Type) > maxText || len(b)+size > max {
			break
		}
		b = appendText(b, d.Type, maxText)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(d.Value)))
		b = append(b, d.Value...)
		count++
	}
	binary.LittleEndian.PutUint16(b[n:], uint16(count))
	return b
}

func appendText(b []byte, s string, max int) []byte {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > max {
		for max > 0 && !utf8.RuneStart(s[max]) {
			max--
		}
		s = s[:max]
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// parseFrame reads one frame; an error is the end of the connection.
func parseFrame(b []byte) (frame, error) {
	if len(b) < headerSize {
		return frame{}, fmt.Errorf("an rpc frame of %d bytes has no whole header", len(b))
	}
	f := frame{stream: binary.LittleEndian.Uint32(b), typ: b[4], flags: b[5]}
	if f.stream == 0 {
		return f, fmt.Errorf("an rpc frame has the stream 0")
	}
	switch f.typ {
	case typeOpen:
		return parseOpen(f, b)
	case typeClose:
		f.code = Code(binary.LittleEndian.Uint16(b[6:]))
		f.value = b[headerSize:]
		switch {
		case f.code > Unauthenticated:
			return f, fmt.Errorf("stream %d was closed with the code %d, which is none", f.stream, f.code)
		case f.code == OK && f.flags != flagValue, f.code != OK && f.flags != 0:
			return f, fmt.Errorf("stream %d was closed with the code %d and the flags %#x", f.stream, f.code, f.flags)
		}
		return f, nil
	}
	return f, fmt.Errorf("an rpc frame has the type %d, which version 1 does not know", f.typ)
}

func parseOpen(f frame, b []byte) (frame, error) {
	f.codec = b[6]
	n := int(b[7])
	b = b[headerSize:]
	switch {
	case f.flags&^(flagValue|flagTime) != 0:
		return f, fmt.Errorf("stream %d was opened with the flags %#x, which version 1 does not know", f.stream, f.flags)
	case f.flags&flagValue == 0:
		return f, fmt.Errorf("stream %d was opened without a value", f.stream)
	case n == 0:
		return f, fmt.Errorf("stream %d was opened with an empty method", f.stream)
	}
	if f.flags&flagTime != 0 {
		if len(b) < 8 {
			return f, fmt.Errorf("stream %d was opened by a frame that ends in its time limit", f.stream)
		}
		f.timeout = max(binary.LittleEndian.Uint64(b), 1)
		b = b[8:]
	}
	if len(b) < n {
		return f, fmt.Errorf("stream %d was opened by a frame that ends in its method", f.stream)
	}
	f.method, f.value = b[:n], b[n:]
	if !utf8.Valid(f.method) {
		return f, fmt.Errorf("stream %d was opened with a method that is not UTF-8", f.stream)
	}
	return f, nil
}

// parseError reads what follows the header of a close frame with an error. It copies.
func parseError(code Code, b []byte) (*Error, error) {
	e := &Error{Code: code}
	ok := true
	cut := func(n uint32) []byte {
		if uint64(n) > uint64(len(b)) {
			ok = false
			n = uint32(len(b))
		}
		part := b[:n]
		b = b[n:]
		return part
	}
	short := func() uint32 {
		if p := cut(2); ok {
			return uint32(binary.LittleEndian.Uint16(p))
		}
		return 0
	}
	text := func() string { return strings.ToValidUTF8(string(cut(short())), "\uFFFD") }
	e.Message = text()
	n := short()
	if n > maxDetails {
		return nil, fmt.Errorf("an error has %d details; at most %d may be", n, maxDetails)
	}
	for range n {
		d := Detail{Type: text()}
		if p := cut(4); ok {
			d.Value = append([]byte{}, cut(binary.LittleEndian.Uint32(p))...)
		}
		if !ok {
			break
		}
		e.Details = append(e.Details, d)
	}
	if !ok || len(b) != 0 {
		return nil, fmt.Errorf("the message and details of an error do not fill their frame")
	}
	return e, nil
}
