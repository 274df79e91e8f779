package msg

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/standpipe/standpipe/internal/ring"
)

// reader takes frames from the connection, through a small buffer that grows when much comes.
type reader struct {
	line *line
	ring *ring.Ring // where the stream comes from since the peer's ring frame
	lim  limits
	sh   *sharing

	mu      sync.Mutex
	buf     []byte
	i, j    int  // unread
	full    bool // the last read filled buf: more comes than it holds
	more    bool // the next message is in buf; of who receives
	lean    int  // reads, one after the other, that left most of buf empty
	bulk    bool // the last message was a large one: perhaps the next one is, too, and need not go through buf
	greeted bool
	stop    atomic.Bool // Interrupt
	leaving atomic.Bool // the Channel closes: whoever receives goes, and an interrupt counts at once
	err     error       // final, but for ErrInterrupted
	wrong   error       // what poll has found, and err is to be

	got      int64        // bytes of frames and Buffers, see received
	received atomic.Int64 // got, as it was when somebody began to wait, or last asked

	arrivals arrivals
	// Of a frame that an interrupt has found unfinished, and that the next message goes on with:
	holds   bool
	held    header    // with what is left of the length of one that is skipped
	part    []byte    // what has come of a message without buffers, or of the part under way
	parts   [][]byte  // that are whole, of a message with buffers
	filling *arriving // what a piece goes to,
	filled  int       // and how much of that it makes whole
}

const (
	leastRead = 1 << 10 // an idle connection keeps it
	mostRead  = 64 << 10
	bulkRead  = 1<<10 + headerSize + 8 // see alignment
	mostLent  = 8 << 10                // a message up to this size is read into buf as a whole, and lent
	mostLean  = 64
	firstTake = 256 << 10 // memory that is taken on the word of a length alone
	trust     = 16        // and times what has come, when that is more
)

func (r *reader) init(sh *sharing, lim limits, err error) {
	r.sh, r.line, r.lim, r.err = sh, &sh.line, lim, err
}

// read reads from where the stream is.
func (r *reader) read(p []byte) (int, error) {
	r.received.Store(r.got)
	if r.ring != nil {
		if r.leaving.Load() && r.stop.Load() { // the ring gives what there is first, and the peer may see to it that there is something always
			return 0, os.ErrDeadlineExceeded
		}
		n, err := r.ring.Read(p)
		return n, broken(err)
	}
	return r.line.Read(p)
}

// fill reads at least once, until n bytes (at most mostRead) are unread.
func (r *reader) fill(n int) error {
	for first := true; first || r.j < n; first = false {
		k, err := r.read(r.room(n))
		r.came(k)
		if err != nil && (k == 0 || r.j < n) {
			return err
		}
	}
	return nil
}

// room is where in buf to read to, of n bytes that are to be unread there.
func (r *reader) room(n int) []byte {
	if r.i > 0 {
		r.j = copy(r.buf, r.buf[r.i:r.j])
		r.i = 0
	}
	size := len(r.buf)
	switch {
	case size < mostRead && (r.full || r.j == size || n > size):
		size = max(leastRead, 2*size, n)
	case r.lean > mostLean && r.j == 0 && size > max(leastRead, n):
		size /= 2
		r.lean = 0
	}
	if size != len(r.buf) {
		b := make([]byte, size)
		copy(b, r.buf[:r.j])
		r.buf = b
	}
	room := r.buf[r.j:]
	if r.bulk && len(room) > bulkRead {
		room = room[:bulkRead]
	}
	return room
}

// came takes note of n bytes that were read to there.
func (r *reader) came(n int) {
	r.j += n
	r.full = r.j == len(r.buf)
	if r.lean++; r.j > len(r.buf)/4 {
		r.lean = 0
	}
}

// greet reads the peer's hello. Where it fails, r.err is set.
func (r *reader) greet(deadline time.Time) (hello, bool) {
	r.line.c.SetReadDeadline(deadline)
	for {
		n, err := helloEnd(r.buf[r.i:r.j])
		if err == nil && n > 0 {
			h, err := parseHello(r.buf[r.i : r.i+n])
			if r.err = err; err != nil {
				return h, false
			}
			r.i += n
			r.greeted = true
			r.line.c.SetReadDeadline(time.Time{})
			return h, true
		}
		if err == nil {
			err = r.fill(0)
			switch {
			case err == io.EOF && r.j > r.i:
				err = protocolError("the connection ended inside the hello")
			case errors.Is(err, os.ErrDeadlineExceeded):
				err = protocolError("no whole hello came within %v", helloTime)
			}
		}
		if err != nil {
			r.err = err
			return hello{}, false
		}
	}
}

// message reads the next message into m. Where it fails, r.err is set. The data is a part of memory, or, where that is nil, of
// buf.
func (r *reader) message(m *Message) (memory []byte) {
	m.Data, m.Buffers = nil, nil
	if r.wrong != nil {
		r.err = r.wrong
		return nil
	}
	for {
		h, err := r.header()
		if err != nil {
			r.err = err
			return nil
		}
		switch {
		case h.kind == kindMessage:
			memory, err = r.body(h, m)
		case h.kind == kindAbort:
			var text []byte
			if text, err = r.lend(int(h.length)); err == nil {
				err = &ProtocolError{Text: strings.ToValidUTF8(string(text), "\uFFFD"), Remote: true}
			}
		case h.kind >= kindIgnored:
			err = r.skip(&h)
		case h.kind == kindPiece:
			err = r.piece(h)
		case h.kind == kindDrop:
			err = r.dropped()
		default:
			err = r.control(h)
		}
		switch {
		case err == nil && h.kind == kindMessage:
			return memory
		case err == nil:
		case r.interrupted(err):
			r.holds, r.held = true, h
			r.err = ErrInterrupted
			return nil
		default:
			r.err = err
			return nil
		}
	}
}

// ready says whether a whole message is unread, or what must be none. Frames before it are no message, and do not count.
func (r *reader) ready() bool {
	if r.holds {
		return false
	}
	for at := r.i; r.j-at >= headerSize; {
		h, err := parseHeader(r.buf[at:r.j], r.lim)
		size := headerSize + int(h.length)
		switch {
		case err != nil:
			return true
		case h.kind == kindRing, r.j-at < size:
			return false
		case h.kind == kindMessage, h.kind == kindAbort:
			return true
		}
		at += size
	}
	return false
}

func (r *reader) header() (header, error) {
	if r.holds {
		r.holds = false
		return r.held, nil
	}
	if r.j-r.i < headerSize {
		if err := r.fill(headerSize); err != nil {
			switch {
			case r.interrupted(err):
				err = ErrInterrupted
			case r.j > r.i:
				err = unexpected(err)
			case errors.Is(err, syscall.ECONNRESET): // the peer has closed, with something unread
				err = io.EOF
			}
			return header{}, err
		}
	}
	h, err := parseHeader(r.buf[r.i:r.j], r.lim)
	r.i += headerSize
	if err == nil {
		r.got += headerSize + int64(h.length)
	}
	return h, err
}

// body reads a message. Where it is interrupted, nothing of it was used yet.
func (r *reader) body(h header, m *Message) (memory []byte, err error) {
	if h.buffers == 0 {
		return r.data(h, m)
	}
	small := h.length <= mostLent
	var frame []byte // as a whole, where it is small: lent
	if small {
		if frame, err = r.lend(int(h.length)); err != nil {
			return nil, err
		}
	}
	at := 0
	next := func(n int) (b []byte, err error) {
		if !small {
			b, err = r.next(at, n)
			at++
			return b, err
		}
		b, frame = frame[:n:n], frame[n:]
		return b, nil
	}
	head, err := next(h.buffers * refSize)
	if err != nil {
		return nil, err
	}
	data, refs, err := parseRefs(head, h, r.lim)
	if err != nil {
		return nil, err
	}
	if m.Data, err = next(data); err != nil {
		return nil, err
	}
	if !small {
		memory = m.Data
	}
	inline := make([][]byte, 0, 2)
	for _, ref := range refs {
		if ref.segment != 0 {
			err = r.await(ref.segment)
		} else if ref.pieces == 0 {
			var b []byte
			if b, err = next(ref.size); small {
				b = slices.Clone(b)
			}
			inline = append(inline, b)
		}
		if err != nil {
			if small { // it is lent again
				r.i -= int(h.length)
			}
			return nil, err
		}
	}
	r.parts = nil
	m.Buffers, err = r.buffers(refs, inline)
	return memory, err
}

// next is part number i of a message, of n bytes.
func (r *reader) next(i, n int) (b []byte, err error) {
	if i < len(r.parts) {
		return r.parts[i], nil
	}
	if r.part, err = r.take(r.part, n); err != nil {
		return nil, err
	}
	b, r.part = r.part, nil
	r.parts = append(r.parts, b)
	return b, nil
}

// buffers are those that the references mean; inline has the bytes of those that came with the message.
func (r *reader) buffers(refs []ref, inline [][]byte) (list []Buffer, err error) {
	for _, ref := range refs {
		var b Buffer
		switch {
		case ref.segment != 0:
			b, err = r.sh.taker.buffer(ref)
			r.got += int64(b.Len())
		case ref.pieces != 0:
			b, err = r.arrivals.arrived(ref)
		default:
			b = privateBuffer(inline[0][:ref.size:ref.size])
			inline = inline[1:]
		}
		if err != nil {
			for _, b := range list {
				b.Release()
			}
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}

// lend is the next n bytes, until the next message. Where it is interrupted, nothing was taken.
func (r *reader) lend(n int) ([]byte, error) {
	if r.j-r.i < n {
		if err := r.fill(n); err != nil {
			return nil, unexpected(err)
		}
	}
	r.i += n
	return r.buf[r.i-n : r.i], nil
}

// data reads the data of a message without buffers. A small one is lent.
func (r *reader) data(h header, m *Message) (memory []byte, err error) {
	n := int(h.length)
	r.bulk = n >= mostRead
	b := r.part
	r.part = nil
	if len(b) == 0 && n <= max(mostLent, r.j-r.i) {
		m.Data, err = r.lend(n)
		m.Data = m.Data[:len(m.Data):len(m.Data)]
		return nil, err
	}
	if len(b) == 0 {
		b = append([]byte{}, alignment[:]...)
	}
	if b, err = r.take(b, len(alignment)+n); err != nil {
		r.part = b
		return nil, err
	}
	m.Data = b[len(alignment):]
	return b, nil
}

// alignment is what goes before the data in memory of its own. Behind the 8 bytes that a room above begins its data with, there
// is the beginning of a line of the processor's cache: the kernel copies faster to there.
var alignment [56]byte

// interrupted says whether err is an interrupt, and ends that.
func (r *reader) interrupted(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	r.resume()
	return true
}

// resume undoes an interrupt. Beside a ring the deadline is of those who wait there.
func (r *reader) resume() {
	r.stop.Store(false)
	if ring := r.sh.ring.Load(); ring != nil {
		ring.Interrupt(false)
	}
	if r.ring == nil {
		r.line.c.SetReadDeadline(time.Time{})
	}
}

// take reads until b has n bytes. What it returns with an error is what has come. Memory is not taken on the word of a
// length alone, beyond firstTake: it grows with the bytes, unless it was there already.
func (r *reader) take(b []byte, n int) ([]byte, error) {
	if cap(b) < n {
		if more := pooled(n); more != nil {
			more = append(more, b...)
			Free(b)
			b = more
		} else {
			b = grow(b, min(n, firstTake)-len(b))
		}
	}
	for len(b) < n {
		if len(b) == cap(b) {
			more := min(n-len(b), len(b))
			if len(b) >= n/trust {
				more = n - len(b)
			}
			b = grow(b, more)
		}
		room := b[len(b):min(n, cap(b))]
		var k int
		var err error
		if r.i == r.j && len(room) >= len(r.buf)/2 {
			k, err = r.read(room)
		} else {
			if r.i == r.j { // little: what comes behind it may be had by the same read
				err = r.fill(1)
			}
			k = copy(room, r.buf[r.i:r.j])
			r.i += k
		}
		if b = b[:len(b)+k]; err != nil && len(b) < n {
			return b, unexpected(err)
		}
	}
	return b, nil
}

// skip skips a frame, and takes what it has skipped off the header's length.
func (r *reader) skip(h *header) error {
	for h.length > 0 {
		if r.i == r.j {
			if err := r.fill(1); err != nil {
				return unexpected(err)
			}
		}
		k := min(int(h.length), r.j-r.i)
		r.i += k
		h.length -= uint32(k)
	}
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
