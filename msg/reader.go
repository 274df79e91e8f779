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
	err     error // final
}

const (
	leastRead = 4 << 10
	mostRead  = 64 << 10
	firstTake = 256 << 10 // memory taken on the word of a length alone; beyond, it grows with the bytes
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
	for {
		h, err := r.header()
		if err == nil {
			switch {
			case h.kind == kindMessage:
				r.err = r.body(h, m)
				return
			case h.kind == kindAbort:
				var text []byte
				if text, err = r.take(nil, int(h.length)); err == nil {
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
	data, sizes := int(h.length), []int(nil)
	if h.buffers > 0 {
		refs, err := r.take(nil, h.buffers*refSize)
		if err != nil {
			return err
		}
		if data, sizes, err = parseRefs(refs, h, r.lim); err != nil {
			return err
		}
	}
	if m.Data, err = r.take(m.Data[:0], data); err != nil {
		return err
	}
	for _, n := range sizes {
		b, err := r.take(nil, n)
		if err != nil {
			return err
		}
		m.Buffers = append(m.Buffers, newMemory(b))
	}
	return nil
}

// take reads n bytes into b's memory, or more where that is too little.
func (r *reader) take(b []byte, n int) ([]byte, error) {
	if b = b[:0]; cap(b) < min(n, firstTake) {
		b = make([]byte, 0, min(n, firstTake))
	}
	for {
		room := b[len(b):min(n, cap(b))]
		k := copy(room, r.buf[r.i:r.j])
		r.i += k
		switch {
		case k == len(room):
		case len(room)-k < len(r.buf)/2: // little: what comes behind it may be had by the same read
			if err := r.fill(len(room) - k); err != nil {
				return b, unexpected(err)
			}
			r.i += copy(room[k:], r.buf[r.i:r.j])
		default:
			if _, err := io.ReadFull(r.c, room[k:]); err != nil {
				return b, unexpected(err)
			}
		}
		if b = b[:len(b)+len(room)]; len(b) == n {
			return b, nil
		}
		more := make([]byte, len(b), min(n, 2*len(b))) // no more than n, which has a limit
		copy(more, b)
		b = more
	}
}

func (r *reader) skip(n int) error {
	k := min(n, r.j-r.i)
	r.i += k
	_, err := io.CopyN(io.Discard, r.c, int64(n-k))
	return unexpected(err)
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
