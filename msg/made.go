package msg

import (
	"context"
	"fmt"
	"maps"
	"math/bits"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/standpipe/standpipe/internal/mem"
)

// made is a segment of this side's making. It is here (a Buffer has it), with the peer, or free.
type made struct {
	maker  *maker
	number uint32
	mem    *mem.Segment
	file   *os.File // byValue: until the peer has surely taken it, by that value
	value  uint64
	where  whereabouts
	since  time.Time // it is free
}

type whereabouts uint8

const (
	here whereabouts = iota
	away
	free
)

// maker has a Channel's own segments.
type maker struct {
	ch *Channel

	mu     sync.Mutex
	on     bool // sharing was agreed on, and works
	closed bool
	limit  int64 // of sum
	sum    int64
	all    map[uint32]*made
	free   []*made // the one that was free last is last: its memory is in the caches
	last   uint32
	freed  chan struct{} // closed when something was given back, or all is over; nil: nobody waits
	sweep  *time.Timer
	kept   []*made // that have a file still, and memory that is not in all: given up, or the area of a ring
}

const (
	leastShared  = 16 << 10 // below, a Buffer is copied: that is cheaper
	mostSegments = 1024
	idleSegment  = 10 * time.Second // a free one is kept so long
)

// size is what a segment for n bytes has: a power of two, or a half, a quarter or three quarters on the way to the next.
func segmentSizeOf(n int64) int64 {
	step := int64(mem.Least)
	if b := bits.Len64(uint64(max(n, 1) - 1)); b > 14 {
		step = 1 << (b - 3)
	}
	return (max(n, 1) + step - 1) / step * step
}

// NewBuffer makes a Buffer of n bytes, to be sent over this Channel, which the peer will see without a copy where memory
// can be shared with it. What was in the memory before is there still: it is the same as in earlier buffers.
//
// Where Config.MaxShared bytes are in use, here or with the peer, it waits until some are given back, which somebody must Recv to hear;
// when ctx ends, the error says who has them. Before the peer's hello was received it waits for that, or receives it.
func (ch *Channel) NewBuffer(ctx context.Context, n int) (Buffer, error) {
	if ch.bad != nil {
		return Buffer{}, ch.bad
	}
	if n < 0 || int64(n) > int64(ch.own.buffers) {
		return Buffer{}, fmt.Errorf("%w: a buffer of %d bytes, where Config.MaxShared is %d", ErrTooLarge, n, ch.own.buffers)
	}
	if err := ch.awaitHello(ctx); err != nil {
		return Buffer{}, err
	}
	if most := ch.limit().buffers; int64(n) > int64(most) {
		return Buffer{}, fmt.Errorf("%w: a buffer of %d bytes, where at most %d may be sent at once", ErrTooLarge, n, most)
	}
	for {
		m, wait, err := ch.sh.maker.get(n)
		switch {
		case err != nil:
			return Buffer{}, err
		case m != nil:
			return newBuffer(&memory{view: m.mem.Bytes()[:n:n], made: m}), nil
		case wait == nil:
			return privateBuffer(make([]byte, n)), nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return Buffer{}, ch.sh.maker.exhausted(n, ctx.Err())
		}
	}
}

// awaitHello waits for the peer's hello, and has it read where nobody else receives.
func (ch *Channel) awaitHello(ctx context.Context) error {
	select {
	case <-ch.greeted:
		return nil
	default:
	}
	if ch.r.mu.TryLock() {
		go func() {
			ch.greet()
			ch.leave()
		}()
	}
	select {
	case <-ch.greeted:
		return nil
	case <-ch.over:
		return net.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("msg: the peer's hello has not come, which says what it takes: %w", ctx.Err())
	}
}

// get is a segment for n bytes, or what to wait for. Neither: the memory is not to be shared.
func (k *maker) get(n int) (*made, <-chan struct{}, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	size := segmentSizeOf(int64(n))
	if size > k.limit {
		size = (int64(n) + mem.Least - 1) / mem.Least * mem.Least
	}
	switch {
	case k.closed:
		return nil, nil, net.ErrClosed
	case !k.on || n < leastShared || size > k.limit || size > mem.Most:
		return nil, nil, nil
	}
	for i := len(k.free) - 1; i >= 0; i-- {
		if m := k.free[i]; int64(len(m.mem.Bytes())) == size {
			k.free = slices.Delete(k.free, i, i+1)
			m.where = here
			if checks {
				m.mem.Protect(false, true)
			}
			return m, nil, nil
		}
	}
	if k.ch.w.crowded() {
		return nil, nil, nil // the peer does not read: what it has not taken keeps descriptors and memory
	}
	for len(k.free) > 0 && (k.sum+size > k.limit || len(k.all) >= mostSegments) {
		k.retire(k.free[:1])
	}
	if k.sum+size > k.limit || len(k.all) >= mostSegments {
		if k.freed == nil {
			k.freed = make(chan struct{})
		}
		return nil, k.freed, nil
	}
	m, err := k.create(size, false)
	if err != nil {
		k.on = false // the system has no more, or the peer must not be given any: bytes are copied from now on
		return nil, nil, nil
	}
	k.all[m.number] = m
	k.sum += size
	return m, nil, nil
}

// create makes a segment, and tells the peer of it. The lock is held.
func (k *maker) create(size int64, ring bool) (*made, error) {
	if k.ch.w.ended() { // settle may have been here
		return nil, net.ErrClosed
	}
	s, err := mem.Create(size)
	if err != nil {
		return nil, err
	}
	f := segmentFrame{number: k.last + 1, ring: ring, size: uint64(size)}
	m := &made{maker: k, number: f.number, mem: s, file: s.Take()}
	if f.handle, err = k.ch.sh.line.export(m.file); err == nil {
		m.value = f.handle
		if err = k.ch.w.announce(f, m.file); !byValue {
			m.file = nil
		}
	}
	if err != nil {
		m.close()
		return nil, err
	}
	k.last++
	if ring && m.file != nil {
		k.kept = append(k.kept, m)
	}
	return m, nil
}

// close gives up the memory.
func (m *made) close() {
	m.mem.Close()
	m.taken()
}

// taken: the peer has what m's file was for.
func (m *made) taken() {
	if m.file != nil {
		m.file.Close()
		m.file = nil
	}
}

// retire gives up segments that are free. The lock is held.
func (k *maker) retire(list []*made) {
	numbers := make([]uint32, 0, len(list))
	for _, m := range list {
		numbers = append(numbers, m.number)
		k.sum -= int64(len(m.mem.Bytes()))
		delete(k.all, m.number)
		m.mem.Close()
		if m.file != nil { // the peer has perhaps not read of it
			k.kept = append(k.kept, m)
		}
	}
	k.free = slices.Delete(k.free, 0, len(list))
	k.ch.w.tell(kindRetire, soon, numbers...)
}

// send: the Buffer is the peer's from now on.
func (m *made) send() {
	m.maker.mu.Lock()
	defer m.maker.mu.Unlock()
	if m.maker.closed { // end has left it to the Buffer, which is gone now
		m.close()
		return
	}
	m.where = away
	if checks {
		m.mem.Protect(true, true)
	}
}

// release: the Buffer was not sent.
func (m *made) release() {
	m.maker.mu.Lock()
	defer m.maker.mu.Unlock()
	m.maker.put(m)
}

// put makes m free. The lock is held.
func (k *maker) put(m *made) {
	if k.closed {
		m.close()
		return
	}
	m.where, m.since = free, time.Now()
	if checks {
		m.mem.Protect(true, true)
	}
	k.free = append(k.free, m)
	if k.freed != nil {
		close(k.freed)
		k.freed = nil
	}
	if k.sweep == nil {
		k.sweep = time.AfterFunc(idleSegment, k.trim)
	}
}

// trim gives up what nobody has used for a while.
func (k *maker) trim() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sweep = nil
	if k.closed {
		return
	}
	idle := 0
	for idle < len(k.free) && time.Since(k.free[idle].since) >= idleSegment {
		idle++
	}
	if idle > 0 {
		k.retire(k.free[:idle])
	}
	if len(k.free) > 0 {
		k.sweep = time.AfterFunc(idleSegment, k.trim)
	}
}

// released: the peer gives a segment back. Only one that it was given, and once.
func (k *maker) released(number uint32) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.all[number]
	if m == nil || m.where != away {
		return protocolError("the peer releases segment %d, which it does not have", number)
	}
	m.taken()
	k.put(m)
	return nil
}

// owing says whether the peer was sent a segment that it has perhaps not taken.
func (k *maker) owing() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.all {
		if m.where == away && m.file != nil {
			return true
		}
	}
	return false
}

// lent says whether there is something that the peer has perhaps not taken.
func (k *maker) lent() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.ContainsFunc(k.handed(), func(m *made) bool { return m.file != nil })
}

func (k *maker) handed() []*made { return append(slices.Collect(maps.Values(k.all)), k.kept...) }

// settle waits until nobody hands over anything any more, the writer having ended, and takes back what the peer has not taken where that
// takes nothing any more.
func (k *maker) settle(revoke bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.handed() {
		if revoke && m.file != nil {
			k.ch.sh.line.h.RevokeHandle(m.value, m.file)
		}
	}
}

// exhausted is the error of a NewBuffer that has waited in vain.
func (k *maker) exhausted(n int, cause error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var count [2]int
	var bytes [2]int64
	for _, m := range k.all {
		if m.where != free {
			count[m.where]++
			bytes[m.where] += int64(len(m.mem.Bytes()))
		}
	}
	return fmt.Errorf("msg: no room for a buffer of %d bytes: of the %d bytes that may be shared (Config.MaxShared, here and at the peer), "+
		"%d in %d buffers are with the peer, which has not released them, and %d in %d buffers are here, not sent and not released: %w",
		n, k.limit, bytes[away], count[away], bytes[here], count[here], cause)
}

// end gives up all segments but those that Buffers still have.
func (k *maker) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	for _, m := range k.all {
		if m.taken(); m.where != here {
			m.close()
		}
	}
	for _, m := range k.kept {
		m.taken()
	}
	k.all, k.free, k.kept = nil, nil, nil
	if k.freed != nil {
		close(k.freed)
		k.freed = nil
	}
	if k.sweep != nil {
		k.sweep.Stop()
	}
}
