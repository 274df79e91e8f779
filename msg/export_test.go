package msg

import (
	"math/rand/v2"
	"reflect"
)

// What a hostile peer has in its hands, for tests that play one with an honest Channel.

// ChannelIn is the Channel in the field ch of what p points to: an rpc.Peer's.
func ChannelIn(p any) *Channel {
	return (*Channel)(reflect.ValueOf(p).Elem().FieldByName("ch").UnsafePointer())
}

// HasRing says whether the stream goes to a ring by now: both areas are here, and this side's ring frame has left.
func (ch *Channel) HasRing() bool {
	ch.w.mu.Lock()
	defer ch.w.mu.Unlock()
	return ch.w.ring != nil
}

// WithAreas calls fn with both areas of the ring, which stay mapped meanwhile. It says whether they are here.
func (ch *Channel) WithAreas(fn func(mine, theirs []byte)) bool {
	s := &ch.sh
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mine == nil || s.theirs == nil {
		return false
	}
	fn(s.mine.mem.Bytes(), s.theirs.Bytes())
	return true
}

// WithSegment calls fn with the memory of one of the segments that are with the peer, if there is one.
func (ch *Channel) WithSegment(fn func([]byte)) {
	k := &ch.sh.maker
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.all { // in no order
		if m.where == away {
			m.mem.Protect(false, true)
			fn(m.mem.Bytes())
			if checks {
				m.mem.Protect(true, true)
			}
			return
		}
	}
}

// RingBell rings, where nobody is to be woken.
func (ch *Channel) RingBell() error { return ch.sh.line.Bell() }

// Utter says something of segments that is probably not true.
func (ch *Channel) Utter(rnd *rand.Rand) {
	kind := uint8(kindRelease)
	if rnd.IntN(2) == 0 {
		kind = kindRetire
	}
	ch.w.tell(kind, eager, uint32(1+rnd.IntN(5)))
}

// AppendFrame appends the header of a frame, and what is in it.
func AppendFrame(b []byte, kind uint8, buffers int, body []byte) []byte {
	return append(appendHeader(b, header{uint32(len(body)), kind, buffers}), body...)
}

// AppendRef appends a reference to a buffer.
func AppendRef(b []byte, size int, segment uint32) []byte {
	return appendRef(b, ref{size: size, segment: segment})
}
