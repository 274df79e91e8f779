package msg

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/internal/mem"
	"github.com/standpipe/standpipe/internal/ring"
)

// RingMode says whether the stream of frames may leave the connection for a ring in shared memory. See Config.Ring.
type RingMode int

const (
	// RingAuto takes a ring for a connection that has something to carry: after some messages, or a large one.
	RingAuto RingMode = iota
	// RingOn takes one at once, where the peer has them.
	RingOn
	// RingOff takes none, and tells the peer so.
	RingOff
)

const (
	ringRoom  = 1 << 20  // bytes on their way in each direction, at most
	ringAfter = 32       // messages, until a ring is taken,
	ringSize  = 64 << 10 // or a message of so many bytes
)

// sharing is what a Channel has in common with its peer. spec/memory.md.
type sharing struct {
	line  line
	mode  RingMode
	maker maker
	taker taker
	ring  atomic.Pointer[ring.Ring] // when both areas are here

	offering     sync.Once
	mu           sync.Mutex
	mine         *made // areas
	theirs       *mem.Segment
	rings, ended bool // both sides take rings; all is over
	naps         bool // and wake each other by futexes
	agreed       atomic.Bool

	// Of who reads beside the ring: what came over the connection, and is no whole frame yet.
	control [headerSize + segmentSize]byte
	part    int
}

// offer is what the hello says.
func (s *sharing) offer() (kind string, rings bool) {
	if s.line.h == nil {
		return "", false
	}
	return mem.Kind, s.mode != RingOff && ring.Possible
}

// agree takes the peer's hello.
func (s *sharing) agree(ch *Channel, peer hello) bool {
	kind, rings := s.offer()
	if kind == "" || peer.share != kind {
		return false
	}
	s.maker = maker{ch: ch, on: ch.own.buffers > 0, limit: int64(ch.limit().buffers), all: map[uint32]*made{}}
	s.taker = taker{ch: ch, limit: int64(ch.own.buffers), all: map[uint32]*taken{}, copies: stranger(ch.c)}
	s.rings = rings && peer.ring
	s.naps = s.rings && ring.Futexes && peer.futex
	s.agreed.Store(true)
	return true
}

// stranger says whether the peer runs as another user.
func stranger(c net.Conn) bool {
	who, ok := c.(interface{ Identity() standpipe.Identity })
	return !ok || !(standpipe.Policy{}).Admits(who.Identity())
}

// count is told of what is sent.
func (ch *Channel) count(n int) {
	s := &ch.sh
	if s.ring.Load() != nil {
		return
	}
	if k := ch.sent.Add(1); (k == ringAfter || n >= ringSize) && s.agreed.Load() {
		s.makeArea(ch)
	}
}

// makeArea makes and announces this side's area, once.
func (s *sharing) makeArea(ch *Channel) {
	s.offering.Do(func() {
		if !s.rings {
			return
		}
		s.maker.mu.Lock()
		m, err := s.maker.create(ring.Head+ringRoom, true)
		s.maker.mu.Unlock()
		if err != nil {
			return // the peer may have its own all the same; without both there is no ring
		}
		s.mu.Lock()
		if s.mine = m; s.ended {
			m.close()
			s.mine = nil
		}
		s.mu.Unlock()
		s.join(ch)
	})
}

// join makes the ring when both areas are here, and lets the writer go over to it.
func (s *sharing) join(ch *Channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mine == nil || s.theirs == nil || s.ring.Load() != nil {
		return
	}
	r, err := ring.New(&link{ch}, s.mine.mem.Bytes(), s.theirs.Bytes())
	if err != nil {
		return // theirs was checked
	}
	if s.naps {
		r.Nap()
	}
	s.ring.Store(r)
	ch.w.goOver(r)
}

// link is the connection as the ring sees it.
type link struct{ ch *Channel }

func (l *link) Bell() error { return l.ch.w.bell() }

// Wait reads from the connection once, beside the ring: bells, and segments.
func (l *link) Wait() error {
	s := &l.ch.sh
	n, err := s.line.Read(s.control[s.part:])
	rest, perr := s.beside(l.ch, s.control[:s.part+n])
	s.part = copy(s.control[:], rest)
	if perr != nil {
		return besideError{perr}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.line.c.SetReadDeadline(time.Time{})
		return nil
	}
	return err
}

// besideError: the peer broke the rules beside the ring, and is to be told.
type besideError struct{ error }

func (besideError) Is(target error) bool { return target == ring.ErrBroken }

// Poke makes Wait return.
func (l *link) Poke() { l.ch.c.SetReadDeadline(time.Unix(1, 0)) }

// beside takes the frames that came over the connection, beside the ring. It returns what is no whole frame yet.
func (s *sharing) beside(ch *Channel, b []byte) (rest []byte, err error) {
	for len(b) >= headerSize {
		h, err := parseHeader(b, ch.r.lim)
		if err != nil {
			return nil, err
		}
		if h.kind != kindBell && h.kind != kindSegment && (h.kind != kindRetire || h.length > 4*besideNumbers) {
			return nil, protocolError("a frame of kind %d and %d bytes came over the connection, beside the ring", h.kind, h.length)
		}
		size := headerSize + int(h.length)
		if len(b) < size {
			break
		}
		switch h.kind {
		case kindSegment:
			err = s.segment(ch, b[headerSize:size])
		case kindRetire:
			err = s.taker.retire(b[headerSize:size])
		}
		if err != nil {
			return nil, err
		}
		b = b[size:]
	}
	return b, nil
}

// segment takes one that was announced.
func (s *sharing) segment(ch *Channel, b []byte) error {
	f, err := parseSegment(b)
	if err != nil {
		return err
	}
	if !f.ring {
		_, err := s.taker.take(f)
		return err
	}
	if room := f.size - ring.Head; !s.rings || room < ring.Least || room > ring.Most || room&(room-1) != 0 {
		return protocolError("an area for a ring has %d bytes, or was not agreed on", f.size)
	}
	s.mu.Lock()
	second := s.theirs != nil
	s.mu.Unlock()
	if second {
		return protocolError("a second area for a ring was announced")
	}
	t, err := s.taker.take(f)
	if err != nil {
		return err
	}
	if t.mem == nil {
		return nil
	}
	s.mu.Lock()
	s.theirs = t.mem
	s.mu.Unlock()
	s.makeArea(ch)
	s.join(ch)
	return nil
}

// control reads a frame of spec/memory.md, of which h is the header.
func (r *reader) control(h header) error {
	b, err := r.lend(int(h.length)) // a list is not longer than 4 KiB
	if err != nil {
		return err
	}
	ch := r.sh.taker.ch
	switch {
	case h.kind == kindRelease:
		for ; len(b) > 0 && err == nil; b = b[4:] {
			err = r.sh.maker.released(binary.LittleEndian.Uint32(b))
		}
		return err
	case r.ring != nil:
		return protocolError("a frame of kind %d came in the ring", h.kind)
	case h.kind == kindSegment:
		return r.sh.segment(ch, b)
	case h.kind == kindRetire:
		return r.sh.taker.retire(b)
	}
	ring := r.sh.ring.Load()
	if h.kind == kindBell {
		if ring != nil {
			ring.Rang()
		}
		return nil
	}
	if ring == nil { // ours was announced before the peer may send this
		return protocolError("the stream goes to a ring, without both areas")
	}
	rest, err := r.sh.beside(ch, r.buf[r.i:r.j])
	if err != nil {
		return err
	}
	r.sh.part = copy(r.sh.control[:], rest)
	r.i, r.j = 0, 0
	r.ring = ring
	ring.Hear()
	if r.stop.Load() { // Interrupt may have found no ring
		ring.Interrupt(true)
	}
	return nil
}

// await waits until a segment was announced, which the stream in the ring has overtaken.
func (r *reader) await(segment uint32) error {
	if r.ring == nil || segment <= r.sh.taker.known() {
		return nil
	}
	err := r.ring.Until(func() bool { return segment <= r.sh.taker.known() })
	return unexpected(broken(err))
}

// end gives up all memory but that of Buffers. Nobody reads or writes any more.
func (s *sharing) end() {
	s.line.end()
	s.maker.end()
	s.taker.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mine != nil {
		s.mine.close()
	}
	if s.theirs != nil {
		s.theirs.Close()
	}
	s.mine, s.theirs, s.ended = nil, nil, true
}
