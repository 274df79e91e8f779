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
	maxDetails = 64
	maxText    = 1<<16 - 1
	maxCredit  = 1<<31 - 1
)

// The types.
const (
	typeOpen   = 1
	typeData   = 2
	typeClose  = 3
	typeCredit = 4
	typeDrain  = 5
	typePing   = 6
	typePong   = 7
)

// The flags, in the order in which what they announce follows the header.
const (
	flagValue  = 0x01
	flagTime   = 0x02
	flagMeta   = 0x04
	flagHeader = 0x08
	flagStream = 0x10
	flagEnd    = 0x20
)

// allowed is the flags that a type may have.
var allowed = [...]uint8{
	typeOpen:   flagValue | flagTime | flagMeta | flagStream,
	typeData:   flagValue | flagMeta | flagEnd,
	typeClose:  flagValue | flagMeta | flagHeader,
	typeCredit: 0,
	typeDrain:  0,
	typePing:   0,
	typePong:   0,
}

type frame struct {
	stream  uint32
	typ     uint8
	flags   uint8
	codec   uint8  // open
	code    Code   // close
	timeout uint64 // open: nanoseconds left; 0: none
	credit  uint32
	known   string // a method that is UTF-8, set before parse
	method  []byte // open; a part of the input, as the next
	header  []byte // close: a metadata block, checked, as the next
	meta    []byte // open, data, close
	value   []byte // what is left: the value, or the error's bytes
}

func (f *frame) has(flag uint8) bool { return f.flags&flag != 0 }

func appendFrame(b []byte, stream uint32, typ, flags uint8, at6 uint16) []byte {
	return binary.LittleEndian.AppendUint64(b, uint64(stream)|uint64(typ)<<32|uint64(flags)<<40|uint64(at6)<<48)
}

// appendOpen appends all of an open frame but the value. kind is flagValue or flagStream.
func appendOpen(b []byte, kind, codec uint8, method string, timeout uint64, meta Metadata) []byte {
	flags := kind
	if timeout != 0 {
		flags |= flagTime
	}
	if len(meta) != 0 {
		flags |= flagMeta
	}
	b = appendFrame(b, 0, typeOpen, flags, uint16(codec)|uint16(len(method))<<8)
	if timeout != 0 {
		b = binary.LittleEndian.AppendUint64(b, timeout)
	}
	if len(meta) != 0 {
		b = appendMetadata(b, meta)
	}
	return append(b, method...)
}

// appendClose appends the answer of the called side, but for the value of a unary one. unary says what kind of call it is.
func appendClose(b []byte, stream uint32, unary bool, header, trailer Metadata) []byte {
	flags := uint8(0)
	if unary {
		flags = flagValue
	}
	return appendEnd(b, stream, OK, flags, header, trailer)
}

func appendCancel(b []byte, stream uint32, code Code) []byte {
	return appendFrame(b, stream, typeClose, 0, uint16(code))
}

func appendEnd(b []byte, stream uint32, code Code, flags uint8, header, trailer Metadata) []byte {
	if len(header) != 0 {
		flags |= flagHeader
	}
	if len(trailer) != 0 {
		flags |= flagMeta
	}
	b = appendFrame(b, stream, typeClose, flags, uint16(code))
	if len(header) != 0 {
		b = appendMetadata(b, header)
	}
	if len(trailer) != 0 {
		b = appendMetadata(b, trailer)
	}
	return b
}

func appendCredit(b []byte, stream uint32, n uint32) []byte {
	return binary.LittleEndian.AppendUint32(appendFrame(b, stream, typeCredit, 0, 0), n)
}

// appendError appends a whole close frame for e. What does not fit into max is cut: details beyond 64, text at a character.
func appendError(b []byte, stream uint32, e *Error, header, trailer Metadata, max int) []byte {
	b = appendEnd(b, stream, e.Code, 0, header, trailer)
	b = appendText(b, e.Message, min(maxText, (max-len(b))/2))
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

// parse makes f, which is zero but for known, the frame that b is; an error is the end of the connection.
func (f *frame) parse(b []byte) error {
	if len(b) < headerSize {
		return fmt.Errorf("an rpc frame of %d bytes has no whole header", len(b))
	}
	f.stream, f.typ, f.flags = binary.LittleEndian.Uint32(b), b[4], b[5]
	at6 := binary.LittleEndian.Uint16(b[6:])
	b = b[headerSize:]
	switch {
	case f.typ == 0 || int(f.typ) >= len(allowed):
		return fmt.Errorf("an rpc frame has the type %d, which version 1 does not know", f.typ)
	case f.flags&^allowed[f.typ] != 0:
		return fmt.Errorf("a frame of the type %d has the flags %#x", f.typ, f.flags)
	case (f.stream == 0) != (f.typ >= typeDrain):
		return fmt.Errorf("a frame of the type %d has the stream %d", f.typ, f.stream)
	case at6 != 0 && f.typ != typeOpen && f.typ != typeClose:
		return fmt.Errorf("a frame of the type %d has %#x where 0 must be", f.typ, at6)
	}
	switch f.typ {
	case typeOpen:
		f.codec = uint8(at6)
		return f.parseOpen(b, int(at6>>8))
	case typeData:
		return f.parseData(b)
	case typeClose:
		f.code = Code(at6)
		return f.parseClose(b)
	case typeCredit:
		return f.parseCredit(b)
	}
	if len(b) != 0 {
		return fmt.Errorf("a frame of the type %d has %d bytes behind its header", f.typ, len(b))
	}
	return nil
}

func (f *frame) parseOpen(b []byte, n int) (err error) {
	switch {
	case f.has(flagValue) == f.has(flagStream):
		return fmt.Errorf("stream %d was opened with the flags %#x, as no kind of call", f.stream, f.flags)
	case n == 0:
		return fmt.Errorf("stream %d was opened with an empty method", f.stream)
	}
	if f.has(flagTime) {
		if len(b) < 8 {
			return fmt.Errorf("stream %d was opened by a frame that ends in its time limit", f.stream)
		}
		f.timeout = max(binary.LittleEndian.Uint64(b), 1)
		b = b[8:]
	}
	if f.has(flagMeta) {
		if f.meta, b, err = cutMetadata(b); err != nil {
			return fmt.Errorf("stream %d was opened with bad metadata: %w", f.stream, err)
		}
	}
	if len(b) < n {
		return fmt.Errorf("stream %d was opened by a frame that ends in its method", f.stream)
	}
	f.method, f.value = b[:n], b[n:]
	switch {
	case string(f.method) != f.known && !utf8.Valid(f.method):
		return fmt.Errorf("stream %d was opened with a method that is not UTF-8", f.stream)
	case f.has(flagStream) && len(f.value) != 0:
		return fmt.Errorf("stream %d was opened as a stream, with a value", f.stream)
	}
	return nil
}

func (f *frame) parseData(b []byte) (err error) {
	if f.flags == 0 {
		return fmt.Errorf("stream %d got a data frame without flags", f.stream)
	}
	if f.has(flagMeta) {
		if f.meta, b, err = cutMetadata(b); err != nil {
			return fmt.Errorf("stream %d has a bad header: %w", f.stream, err)
		}
	}
	if !f.has(flagValue) && len(b) != 0 {
		return fmt.Errorf("stream %d got %d bytes that are no value", f.stream, len(b))
	}
	f.value = b
	return nil
}

func (f *frame) parseClose(b []byte) (err error) {
	if f.has(flagHeader) {
		if f.header, b, err = cutMetadata(b); err != nil {
			return fmt.Errorf("stream %d was closed with a bad header: %w", f.stream, err)
		}
	}
	if f.has(flagMeta) {
		if f.meta, b, err = cutMetadata(b); err != nil {
			return fmt.Errorf("stream %d was closed with a bad trailer: %w", f.stream, err)
		}
	}
	f.value = b
	switch {
	case f.code > Unauthenticated:
		return fmt.Errorf("stream %d was closed with the code %d, which is none", f.stream, f.code)
	case f.code != OK && f.has(flagValue):
		return fmt.Errorf("stream %d was closed with the code %d and a value", f.stream, f.code)
	case f.code == OK && !f.has(flagValue) && len(b) != 0:
		return fmt.Errorf("stream %d was closed with %d bytes that are no value", f.stream, len(b))
	}
	return nil
}

func (f *frame) parseCredit(b []byte) error {
	if len(b) != 4 {
		return fmt.Errorf("a credit frame has %d bytes behind its header", len(b))
	}
	f.credit = binary.LittleEndian.Uint32(b)
	if f.credit == 0 || f.credit > maxCredit {
		return fmt.Errorf("stream %d was given a credit of %d", f.stream, f.credit)
	}
	return nil
}

// parseError reads what is left of a close frame with an error. It copies.
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
