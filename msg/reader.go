package msg

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// reader takes frames from the connection, through a small buffer that grows when much comes.
type reader struct {
	c   net.Conn
	lim limits

	mu      sync.Mutex
	buf     []byte
	i, j    int  // unread
	full    bool // the last read filled buf: more comes than it holds
	greeted bool
	err     error // final, but for ErrInterrupted

	half       []byte // of a message whose receiver was interrupted
	halfHeader header
}

const (
	leastRead = 4 << 10
	mostRead  = 64 << 10
	firstTake = 256 << 10 // memory that is taken on the word of a length alone
)

func (r *reader) init(c net.Conn, lim limits, err error) {
	r.c, r.lim, r.err = c, lim, err
}

// fill reads at least once, until n bytes (at most mostRead) are unread.
func (r *reader) fill(n int) error {
	if r.i > 0 {
		r.j = copy(r.buf, r.buf[r.i:r.j])
		r.i = 0
	}
	for first := true; first || r.j < n; first = false {
		if size := max(leastRead, 2*len(r.buf)); size <= mostRead && (r.full || r.j == len(r.buf)) {
			b := make([]byte, size)
			copy(b, r.buf[:r.j])
			r.buf = b
		}
		k, err := r.c.Read(r.buf[r.j:])
		r.j += k
		r.full = r.j == len(r.buf)
		if err != nil && (k == 0 || r.j < n) {
			return err
		}
	}
	return nil
}

// greet reads the peer's hello. Where it fails, r.err is set.
func (r *reader) greet(deadline time.Time) (hello, bool) {
	r.c.SetReadDeadline(deadline)
	for {
		n, err := helloEnd(r.buf[r.i:r.j])
		if err == nil && n > 0 {
			h, err := parseHello(r.buf[r.i : r.i+n])
			if r.err = err; err != nil {
				return h, false
			}
			r.i += n
			r.greeted = true
			r.c.SetReadDeadline(time.Time{})
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

// message reads the next message into m. Where it fails, r.err is set.
func (r *reader) message(m *Message) {
	m.Buffers = nil
	if half := r.half; half != nil {
		r.half = nil
		r.err = r.data(r.halfHeader, m, half)
		return
	}
	for {
		h, err := r.header()
		if err == nil {
			switch {
			case h.kind == kindMessage:
				r.err = r.body(h, m)
				return
			case h.kind == kindAbort:
				var text []byte
				if text, err = r.whole(int(h.length)); err == nil {
					err = &ProtocolError{Text: strings.ToValidUTF8(string(text), "\uFFFD"), Remote: true}
				}
			default:
				err = r.skip(int(h.length))
			}
		}
		if err != nil {
			r.err = err
			return
		}
	}
}

func (r *reader) header() (header, error) {
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
	return h, err
}

func (r *reader) body(h header, m *Message) (err error) {
	if h.buffers == 0 {
		return r.data(h, m, m.Data[:0])
	}
	refs, err := r.whole(h.buffers * refSize)
	if err != nil {
		return err
	}
	data, sizes, err := parseRefs(refs, h, r.lim)
	if err != nil {
		return err
	}
	if m.Data, err = r.whole(data); err != nil {
		return err
	}
	for _, n := range sizes {
		b, err := r.whole(n)
		if err != nil {
			return err
		}
		m.Buffers = append(m.Buffers, newMemory(b[:n:n]))
	}
	return nil
}

// data reads the data of a message without buffers, of which b is here. Where it is interrupted, the next message goes on.
func (r *reader) data(h header, m *Message, b []byte) (err error) {
	m.Data, err = r.take(b, int(h.length))
	if r.interrupted(err) {
		r.half, r.halfHeader, m.Data = m.Data, h, nil
		return ErrInterrupted
	}
	return err
}

// interrupted says whether err is an interrupt, and ends that.
func (r *reader) interrupted(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	r.c.SetReadDeadline(time.Time{})
	return true
}

// whole is take for what can't be interrupted.
func (r *reader) whole(n int) (b []byte, err error) {
	for {
		if b, err = r.take(b, n); !r.interrupted(err) {
			return b, err
		}
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
			b = grow(b, min(n-len(b), len(b)))
		}
		room := b[len(b):min(n, cap(b))]
		var k int
		var err error
		if r.i == r.j && len(room) >= len(r.buf)/2 {
			k, err = r.c.Read(room)
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

func (r *reader) skip(n int) error {
	for n > 0 {
		if r.i == r.j {
			if err := r.fill(1); err != nil && !r.interrupted(err) {
				return unexpected(err)
			}
		}
		k := min(n, r.j-r.i)
		r.i += k
		n -= k
	}
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
