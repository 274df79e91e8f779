package msg

import (
	"encoding/binary"
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
	kindSegment = 3
	kindRelease = 4
	kindRetire  = 5
	kindRing    = 6
	kindBell    = 7
	kindPiece   = 8
	kindDrop    = 9
	kindIgnored = 128 // this one and all above

	segmentSize = 24 // of a segment frame, behind its header
	mostNumbers = 1024

	besideNumbers = segmentSize / 4 // of a retire beside the ring

	pieceHead = 8         // of a piece, behind its header
	mostPiece = 256 << 10 // bytes of a buffer in one piece
)

// limits are what one side takes.
type limits struct {
	message uint32 // bytes of data
	buffers uint32 // bytes of buffers with one message, and of segments
	shared  bool   // segments may come: spec/memory.md
}

type header struct {
	length  uint32
	kind    uint8
	buffers int
}

// appendHeader writes all of it at once: a processor that reads at once what it wrote in parts waits for all of them.
func appendHeader(b []byte, h header) []byte {
	return binary.LittleEndian.AppendUint64(b, uint64(h.length)|uint64(h.kind)<<32|uint64(uint16(h.buffers))<<48)
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
	case lim.shared && h.kind >= kindSegment && h.kind <= kindBell:
		if !memoryLength(h) {
			return h, protocolError("a frame of kind %d has %d bytes and %d buffers", h.kind, rest, h.buffers)
		}
	case h.kind == kindPiece:
		if rest <= pieceHead || rest > pieceHead+mostPiece || h.buffers != 0 {
			return h, protocolError("a piece has %d bytes and %d buffers", rest, h.buffers)
		}
	case h.kind == kindDrop:
		if rest != 4 || h.buffers != 0 {
			return h, protocolError("a drop has %d bytes and %d buffers", rest, h.buffers)
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

// memoryLength says whether a frame of spec/memory.md may be as long as h says.
func memoryLength(h header) bool {
	switch h.kind {
	case kindSegment:
		return h.length == segmentSize && h.buffers == 0
	case kindRelease, kindRetire:
		return h.length >= 4 && h.length <= 4*mostNumbers && h.length%4 == 0 && h.buffers == 0
	}
	return h.length == 0 && h.buffers == 0
}

// ref is a reference to a buffer.
type ref struct {
	size    int
	segment uint32 // that it is in, or
	pieces  uint32 // the number by which it came; both 0: its bytes follow the data
}

func (r ref) inside() bool { return r.segment == 0 && r.pieces == 0 }

// parseRefs reads h's references: how long the data is, and each buffer.
func parseRefs(b []byte, h header, lim limits) (data int, refs []ref, err error) {
	left := uint64(h.length) - uint64(len(b))
	var inside, sum uint64
	for ; len(b) > 0; b = b[refSize:] {
		n := binary.LittleEndian.Uint64(b)
		r := ref{int(n), binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])}
		switch {
		case r.segment != 0 && r.pieces != 0:
			return 0, nil, protocolError("a buffer is in segment %d, and came in pieces as number %d", r.segment, r.pieces)
		case r.segment != 0 && !lim.shared:
			return 0, nil, protocolError("a buffer is in a segment, and sharing was not agreed on")
		case r.inside() && n > left-inside:
			return 0, nil, protocolError("a buffer of %d bytes does not fit its message", n)
		case n > uint64(lim.buffers)-min(sum, uint64(lim.buffers)):
			return 0, nil, protocolError("a message has more bytes of buffers than the limit of %d", lim.buffers)
		case r.inside():
			inside += n
		}
		sum += n
		refs = append(refs, r)
	}
	if left-inside > uint64(lim.message) {
		return 0, nil, protocolError("a message of %d bytes is above the limit of %d", left-inside, lim.message)
	}
	return int(left - inside), refs, nil
}

func appendRef(b []byte, r ref) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(r.size))
	b = binary.LittleEndian.AppendUint32(b, r.segment)
	return binary.LittleEndian.AppendUint32(b, r.pieces)
}

// segmentFrame is what a segment frame says.
type segmentFrame struct {
	number uint32
	ring   bool
	size   uint64
	handle uint64
}

func (f segmentFrame) append(b []byte) []byte {
	use := uint32(0)
	if f.ring {
		use = 1
	}
	b = appendHeader(b, header{segmentSize, kindSegment, 0})
	b = binary.LittleEndian.AppendUint32(b, f.number)
	b = binary.LittleEndian.AppendUint32(b, use)
	b = binary.LittleEndian.AppendUint64(b, f.size)
	return binary.LittleEndian.AppendUint64(b, f.handle)
}

// parseSegment reads the segmentSize bytes behind the header. What the frame alone does not show, the receiver checks.
func parseSegment(b []byte) (segmentFrame, error) {
	_ = b[segmentSize-1]
	f := segmentFrame{
		number: binary.LittleEndian.Uint32(b),
		size:   binary.LittleEndian.Uint64(b[8:]),
		handle: binary.LittleEndian.Uint64(b[16:]),
	}
	use := binary.LittleEndian.Uint32(b[4:])
	f.ring = use == 1
	if use > 1 {
		return f, protocolError("a segment has the use %d, which version %d does not know", use, version)
	}
	return f, nil
}

func appendNumbers(b []byte, kind uint8, numbers ...uint32) []byte {
	b = appendHeader(b, header{uint32(4 * len(numbers)), kind, 0})
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}

func appendAbort(b []byte, reason string) []byte {
	reason = strings.ToValidUTF8(reason[:min(len(reason), maxAbort)], "")
	return append(appendHeader(b, header{uint32(len(reason)), kindAbort, 0}), reason...)
}
