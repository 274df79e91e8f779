package ring

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/standpipe/standpipe/internal/mem"
)

// Write writes all of p, and waits for room. Where it fails, it says how much the peer gets. os.ErrDeadlineExceeded: the write deadline
// was reached.
func (r *Ring) Write(p []byte) (int, error) {
	if r.unheard() {
		return 0, io.ErrClosedPipe
	}
	if r.Publish() { // or the reader could not make room
		if err := r.link.Bell(); err != nil {
			return 0, err
		}
	}
	n := 0
	for n < len(p) {
		free, err := r.free(len(p) - n)
		if err == nil && free == 0 {
			err = r.awaitRoom()
		}
		if err != nil {
			return n, err
		}
		n += r.put(p[n:], min(free, chunk))
		if r.owed() {
			if err := r.link.Bell(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// unheard: the connection has ended, and not because of what the peer did: then it may be told why, where there is room.
func (r *Ring) unheard() bool {
	end := r.end.Load()
	return r.unread || end != nil && !errors.Is(*end, ErrBroken)
}

// WriteBuffers writes the pieces of b, and takes from it what was written.
func (r *Ring) WriteBuffers(b *net.Buffers) (sum int64, err error) {
	for len(*b) > 0 && err == nil {
		var n int
		n, err = r.Write((*b)[0])
		sum += int64(n)
		if (*b)[0] = (*b)[0][n:]; err == nil {
			*b = (*b)[1:]
		}
	}
	return sum, err
}

// TryWrite writes head and parts if there is room for all of it now, and otherwise nothing. The reader is not told before Publish, or
// the next Write.
func (r *Ring) TryWrite(head []byte, parts [][]byte) (ok bool, err error) {
	sum := len(head)
	for _, p := range parts {
		sum += len(p)
	}
	if r.unheard() {
		return false, io.ErrClosedPipe
	}
	free, err := r.free(sum)
	if err != nil || free < uint64(sum) || r.over.Load() {
		return false, err
	}
	r.place(head)
	for _, p := range parts {
		r.place(p)
	}
	r.claimNext(sum)
	return true, nil
}

// claimNext takes the lines where another message of n bytes would be, as far as that is worth while: the reader has read what was there, and has them in its cache. Who
// writes there later need not wait until they have come.
func (r *Ring) claimNext(n int) {
	const most = 4 * line
	for at, end := r.head, r.head+uint64(min(n, most))+line; at < end; at += line {
		claim(&r.out[at&(r.window-1)])
	}
}

// place writes p, for which there is room.
func (r *Ring) place(p []byte) {
	copyIn(r.out, p, r.head, r.window-1)
	r.head += uint64(len(p))
}

// Publish tells the reader what TryWrite has written. Where it says bell, Bell of the Link is owed.
func (r *Ring) Publish() (bell bool) {
	if r.mine.head.Load() == r.head {
		return false
	}
	released()
	r.mine.head.Store(r.head)
	return r.owed()
}

// put is W1: it writes at most free bytes of p, and says that they are there.
func (r *Ring) put(p []byte, free uint64) int {
	p = p[:min(uint64(len(p)), free)]
	copyIn(r.out, p, r.head, r.window-1)
	r.head += uint64(len(p))
	released()
	r.mine.head.Store(r.head)
	return len(p)
}

func copyIn(room, p []byte, at, mask uint64) {
	if k := mem.Copy(room[at&mask:mask+1], p); k < len(p) {
		mem.Copy(room, p[k:])
	}
}

// free is the room that there is. Where nothing is under way, the window is fitted to what comes.
func (r *Ring) free(n int) (uint64, error) {
	if r.window <= small || n > small/8 {
		r.calm = 0
	} else {
		r.calm++
	}
	if used := r.head - r.seen; used+uint64(n) <= r.window && r.calm < calm {
		return r.window - used, nil
	}
	tail := r.theirs.tail.Load()
	if r.head-tail > r.head-r.seen {
		return 0, fmt.Errorf("%w: the reader says that it has read %d bytes, of %d", ErrBroken, tail, r.head)
	}
	r.seen = tail
	if room := uint64(len(r.out)); tail == r.head {
		switch {
		case uint64(n) > r.window/2 && r.window < room:
			r.resize(room)
		case r.calm >= calm:
			r.calm = 0
			r.resize(min(small, room))
		}
	}
	return r.window - (r.head - tail), nil
}

// owed is W6: a reader who is parked must be woken. true: by a bell.
func (r *Ring) owed() bool {
	e := r.theirs.parked.Load()
	if e&1 == 0 || e == r.rungData {
		return false
	}
	if r.naps && e&3 == byFutex {
		if wake(r.heads.mine, 1) { // or the reader does not wait yet, and this value is not used up
			r.rungData = e
		}
		return false
	}
	r.rungData = e
	return true
}

func (r *Ring) hasRoom() bool {
	return r.theirs.tail.Load() != r.seen || r.ended() || r.expired()
}

func (r *Ring) expired() bool {
	d := r.deadline.Load()
	return d != 0 && time.Now().UnixNano() >= d
}

// deafPoll is how often a writer looks on its own, before the peer's stream has left the connection: bells may lie unread there. Nor
// does it see the connection's end, where its program receives nothing: every so many times it rings, which fails then.
const (
	deafPoll = time.Millisecond
	deafBell = 100
)

// awaitRoom waits until the reader has read something.
func (r *Ring) awaitRoom() error {
	switch {
	case r.over.Load():
		return net.ErrClosed
	case r.unread, r.end.Load() != nil:
		return io.ErrClosedPipe
	case r.expired():
		return os.ErrDeadlineExceeded
	case r.writing.spin(r.hasRoom):
		return nil
	}
	r.mine.waiting.Add(1) // W2
	if !r.hasRoom() {     // W3
		r.hearRoom() // W4
	}
	r.mine.waiting.Add(1) // W5, as R5
	return nil
}

func (r *Ring) hearRoom() {
	if !r.hears.Load() {
		select {
		case <-r.room:
		case <-time.After(deafPoll):
			if r.deaf++; r.deaf%deafBell == 0 {
				r.unread = r.link.Bell() != nil // what the peer has sent before is to be read still, and then its end
			}
		}
		return
	}
	if d := r.deadline.Load(); d != 0 {
		defer time.AfterFunc(time.Until(time.Unix(0, d)), r.poke).Stop()
	}
	r.hear(r.room, r.data)
}

// SetWriteDeadline is as a net.Conn's.
func (r *Ring) SetWriteDeadline(t time.Time) error {
	d := int64(0)
	if !t.IsZero() {
		d = max(t.UnixNano(), 1)
	}
	r.deadline.Store(d)
	r.poke()
	return nil
}
