package msg

import (
	"encoding/binary"
	"math"
	"strings"
)

// Pure: frames to and from bytes, no I/O. spec/wire.md, section 2.

const (
	headerSize  = 8
	refSize     = 16
	maxBuffers  = 64
	maxAbort    = 1024
	kindMessage = 1
	kindAbort   = 2
	kindIgnored = 128 // this one and all above
)

// limits are what one side takes.
type limits struct {
	message uint32 // bytes of data
	buffers uint32 // bytes of buffers with one message
}

type header struct {
	length  uint32
	kind    uint8
	buffers int
}

func appendHeader(b []byte, h header) []byte {
	b = binary.LittleEndian.AppendUint32(b, h.length)
	return append(b, h.kind, 0, byte(h.buffers), byte(h.buffers>>8))
}

// parseHeader reads the first headerSize bytes of b and refuses what lim does not allow: nothing that it accepts makes
// the reader take more memory than lim.
func parseHeader(b []byte, lim limits) (header, error) {
	_ = b[headerSize-1]
	h := header{
		length:  binary.LittleEndian.Uint32(b),
		kind:    b[4],
		buffers: int(binary.LittleEndian.Uint16(b[6:])),
	}
	if b[5] != 0 {
		return h, protocolError("a frame has the flags %#x, which version %d does not know", b[5], version)
	}
	rest := uint64(h.length)
	switch {
	case h.kind == kindMessage:
		refs := uint64(h.buffers) * refSize
		switch {
		case h.buffers > maxBuffers:
			return h, protocolError("a message has %d buffers; at most %d may be", h.buffers, maxBuffers)
		case refs > rest:
			return h, protocolError("a message of %d bytes can't hold references to %d buffers", rest, h.buffers)
		case h.buffers == 0 && rest > uint64(lim.message):
			return h, protocolError("a message of %d bytes is above the limit of %d", rest, lim.message)
		case rest-refs > uint64(lim.message)+uint64(lim.buffers):
			return h, protocolError("a message of %d bytes, buffers included, is above the limits of %d and %d", rest, lim.message, lim.buffers)
		}
	case h.kind == kindAbort:
		if rest > maxAbort || h.buffers != 0 {
			return h, protocolError("an abort frame has %d bytes and %d buffers; it may have %d and none", rest, h.buffers, maxAbort)
		}
	case h.kind >= kindIgnored:
		if rest > uint64(lim.message) {
			return h, protocolError("a frame of kind %d has %d bytes, above the limit of %d", h.kind, rest, lim.message)
		}
	default:
		return h, protocolError("a frame has the kind %d, which version %d does not know", h.kind, version)
	}
	return h, nil
}

// parseRefs reads h's references: how long the data is, and each buffer.
func parseRefs(b []byte, h header, lim limits) (data int, sizes []int, err error) {
	left := uint64(h.length) - uint64(len(b))
	var sum uint64
	for ; len(b) > 0; b = b[refSize:] {
		n := binary.LittleEndian.Uint64(b)
		if binary.LittleEndian.Uint64(b[8:]) != 0 {
			return 0, nil, protocolError("a buffer is not in the frame, and sharing was not agreed on")
		}
		if n > left-sum {
			return 0, nil, protocolError("a buffer of %d bytes does not fit its message", n)
		}
		sum += n
		sizes = append(sizes, int(n))
	}
	if sum > uint64(lim.buffers) {
		return 0, nil, protocolError("a message has %d bytes of buffers, above the limit of %d", sum, lim.buffers)
	}
	if left-sum > uint64(lim.message) {
		return 0, nil, protocolError("a message of %d bytes is above the limit of %d", left-sum, lim.message)
	}
	return int(left - sum), sizes, nil
}

// messageHeader is the header of m, or ok false where one frame can't hold it.
func messageHeader(m Message) (h header, ok bool) {
	n := uint64(len(m.Data)) + refSize*uint64(len(m.Buffers))
	for _, buf := range m.Buffers {
		n += uint64(buf.Len())
	}
	return header{uint32(n), kindMessage, len(m.Buffers)}, n <= math.MaxUint32 && len(m.Buffers) <= maxBuffers
}

func appendRef(b []byte, size int) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(size)), 0, 0, 0, 0, 0, 0, 0, 0)
}

func appendAbort(b []byte, reason string) []byte {
	reason = strings.ToValidUTF8(reason[:min(len(reason), maxAbort)], "")
	return append(appendHeader(b, header{uint32(len(reason)), kindAbort, 0}), reason...)
}
