package msg

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/standpipe/standpipe/internal/mem"
)

// taken is a segment of the peer's making.
type taken struct {
	taker  *taker
	number uint32
	size   int
	mem    *mem.Segment // nil: it could not be had any more
	here   bool         // a Buffer has it
}

func (t *taken) close() {
	if t.mem != nil {
		t.mem.Close()
	}
}

// taker has the segments that a Channel was given.
type taker struct {
	ch *Channel

	mu     sync.Mutex
	closed bool
	limit  int64
	sum    int64 // of what was announced
	all    map[uint32]*taken
	last   uint32
	copies bool // the peer runs as another user: nobody looks at what it can change
}

// take maps a segment that was announced.
func (k *taker) take(f segmentFrame) (*taken, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case f.number != k.last+1:
		return nil, protocolError("segment %d was announced behind number %d", f.number, k.last)
	case f.size < mem.Least || f.size > mem.Most || f.size%mem.Least != 0:
		return nil, protocolError("a segment can't have %d bytes", f.size)
	case !f.ring && len(k.all) >= mostSegments:
		return nil, protocolError("more than %d segments were announced", mostSegments)
	case !f.ring && int64(f.size) > k.limit-k.sum:
		return nil, protocolError("segments of %d bytes and one of %d were announced, above the limit of %d", k.sum, f.size, k.limit)
	}
	t := &taken{taker: k, number: f.number, size: int(f.size)}
	file, err := k.ch.sh.line.file(f.handle)
	if err == nil {
		t.mem, err = mem.Map(file, int64(f.size))
	} else {
		err = fmt.Errorf("it came without its memory: %w", err)
	}
	// A client that has closed has its handles no more, or something else by the same value; but what it sent before counts. What refers to the
	// segment is refused.
	if err != nil && !byValue {
		return nil, protocolError("segment %d: %v", f.number, err)
	}
	if k.closed {
		t.close()
		return nil, protocolError("the channel is closed")
	}
	k.last = f.number
	if !f.ring {
		k.all[f.number] = t
		k.sum += int64(f.size)
	}
	return t, nil
}

// known is the number of the last segment that was announced.
func (k *taker) known() uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last
}

// buffer is what a reference in a message means.
func (k *taker) buffer(r ref) (Buffer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.all[r.segment]
	switch {
	case t == nil:
		return Buffer{}, protocolError("a buffer lies in segment %d, which is not known", r.segment)
	case t.here:
		return Buffer{}, protocolError("a buffer lies in segment %d, which was sent before and is not released", r.segment)
	case r.size > t.size:
		return Buffer{}, protocolError("a buffer of %d bytes lies in segment %d, which has %d", r.size, r.segment, t.size)
	case t.mem == nil:
		return Buffer{}, protocolError("a buffer lies in segment %d, whose memory could not be had", r.segment)
	case k.closed:
		return Buffer{}, protocolError("the channel is closed")
	}
	if k.copies {
		b := privateBuffer(append(make([]byte, 0, r.size), t.mem.Bytes()[:r.size]...))
		k.ch.w.tell(kindRelease, urgency(false, r.size), t.number)
		return b, nil
	}
	t.here = true
	if checks {
		t.mem.Protect(false, false)
	}
	return newBuffer(&memory{view: t.mem.Bytes()[:r.size:r.size], taken: t}), nil
}

// EagerRelease is how many bytes a Buffer has, at least, that is given back to its maker at once, not with what is sent next.
const EagerRelease = 1 << 20

func urgency(queue bool, size int) int {
	switch {
	case queue:
		return queued
	case size >= EagerRelease:
		return eager
	}
	return soon
}

// release gives a Buffer's segment back to its maker.
func (t *taken) release(queue bool) {
	k := t.taker
	k.mu.Lock()
	defer k.mu.Unlock()
	t.here = false
	if k.closed {
		t.close()
		return
	}
	if checks {
		t.mem.Protect(true, false)
	}
	k.ch.w.tell(kindRelease, urgency(queue, t.size), t.number)
}

// retire takes a list of segments that the maker gives up.
func (k *taker) retire(list []byte) (err error) {
	for ; len(list) > 0 && err == nil; list = list[4:] {
		err = k.retired(binary.LittleEndian.Uint32(list))
	}
	return err
}

// retired: the maker gives up a segment.
func (k *taker) retired(number uint32) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.all[number]
	if t == nil || t.here {
		return protocolError("the peer gives up segment %d, which is not known, or was sent and is not released", number)
	}
	delete(k.all, number)
	k.sum -= int64(t.size)
	t.close()
	return nil
}

// end gives up all segments but those that Buffers still have.
func (k *taker) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	for _, t := range k.all {
		if !t.here {
			t.close()
		}
	}
	k.all = nil
}
