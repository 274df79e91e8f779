// Package ring moves a stream of bytes each way between two processes through memory that both see, without system calls
// while both are awake. spec/memory.md, section 5, has the layout and the protocol; the labels R1 to R6 and W1 to W6 in
// the code are those of 5.6 and 5.7, and of the model in model/.
package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	// Head is what an area has before its data.
	Head = 4096
	// Least and Most are the bounds of an area's room for data, which is a power of two.
	Least = 4096
	Most  = 16 << 20

	line = 64 // of the processors' caches, or a half or a quarter of one

	small = 32 << 10 // the window while messages are small: it stays in the caches, and an idle connection keeps no more
	chunk = 64 << 10 // the reader is to begin while the writer goes on
	calm  = 256      // small writes, one after the other, that let the window shrink
)

// Possible says whether this machine reads the layout as it is: 64 bits at once, and little-endian.
var Possible = bits.UintSize == 64 && binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// ErrBroken: the peer has written what can't be. The connection is over.
var ErrBroken = errors.New("the ring")

// control is the head of an area.
type control struct {
	head    atomic.Uint64
	window  atomic.Uint64
	_       [112]byte
	tail    atomic.Uint64
	_       [120]byte
	parked  atomic.Uint32
	_       [124]byte
	waiting atomic.Uint32
}

// A Link is the connection beside the ring.
type Link interface {
	// Wait waits until something came over the connection, whatever it was, or until Poke. An error is final; where it is ErrBroken, the
	// connection is up still. It is called by one goroutine at a time.
	Wait() error
	// Poke makes the Wait that is under way return, or the next one.
	Poke()
	// Bell sends a bell. It may be called by several goroutines.
	Bell() error
}

// A Ring is one side's view: a stream to be read and one to be written, each by one goroutine at a time. The areas must stay
// mapped until neither does any more.
type Ring struct {
	link         Link
	mine, theirs *control
	heads        struct{ mine, theirs uintptr } // the addresses: who wakes may come when the areas are unmapped
	out, in      []byte                         // the rooms
	hears        atomic.Bool                    // the peer's stream has left the connection: who waits may read that
	turn         chan struct{}                  // has somebody who does
	end          atomic.Pointer[error]          // of the connection
	over         atomic.Bool

	// Of the reader:
	tail       uint64
	rungRoom   uint32
	reading    spinner
	naps       bool // both sides have futexes
	missed     int  // naps, one after the other, that nobody ended
	skipped    int  // waits without a nap since then
	napped     int  // naps since Go's scheduler was let in
	interrupts atomic.Bool
	data       chan struct{} // a token: the reader is to look again

	_ [64]byte
	// Of the writer:
	head     uint64
	window   uint64
	seen     uint64 // the other side's tail
	rungData uint32
	calm     int
	writing  spinner
	deaf     int           // waits before Hear
	unread   bool          // the peer has closed, as a bell has found then
	deadline atomic.Int64  // of Write, in nanoseconds since 1970; 0: none
	room     chan struct{} // a token: the writer is to look again
}

// New makes a Ring of the area that this side has made, which is all 0, and the one that it was given. Both have Head bytes and
// room for data.
func New(link Link, mine, theirs []byte) (*Ring, error) {
	for _, area := range [][]byte{mine, theirs} {
		if room := len(area) - Head; room < Least || room > Most || room&(room-1) != 0 {
			return nil, fmt.Errorf("an area can't have %d bytes", len(area))
		}
	}
	r := &Ring{
		link:   link,
		mine:   (*control)(unsafe.Pointer(unsafe.SliceData(mine))),
		theirs: (*control)(unsafe.Pointer(unsafe.SliceData(theirs))),
		out:    mine[Head:],
		in:     theirs[Head:],
		turn:   make(chan struct{}, 1),
		data:   make(chan struct{}, 1),
		room:   make(chan struct{}, 1),
	}
	r.heads.mine, r.heads.theirs = uintptr(unsafe.Pointer(&r.mine.head)), uintptr(unsafe.Pointer(&r.theirs.head)) // the lower halves: little-endian
	r.reading.init()
	r.writing.init()
	r.resize(min(small, uint64(len(r.out))))
	return r, nil
}

func (r *Ring) resize(window uint64) {
	r.window = window
	r.mine.window.Store(window)
}

// Read reads what is there, at most len(p) bytes, and waits for some. After the connection's end it returns what is left, and
// then why it ended. os.ErrDeadlineExceeded: it was interrupted; nothing is lost.
func (r *Ring) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		end := r.end.Load() // before the look: what was written before the end is read
		n, err := r.available()
		switch {
		case n > 0:
			return r.take(p, n), nil
		case err != nil:
			return 0, err
		}
		if err := r.stopped(end); err != nil {
			return 0, err
		}
		r.await()
	}
}

// stopped says why the reader, who has nothing, is not to wait. end is what it saw before it looked.
func (r *Ring) stopped(end *error) error {
	switch {
	case r.interrupts.Load():
		return os.ErrDeadlineExceeded
	case r.over.Load():
		return net.ErrClosed
	case end != nil:
		return *end
	}
	return nil
}

// available is R1: how much there is to read.
func (r *Ring) available() (uint64, error) {
	n := r.theirs.head.Load() - r.tail
	if n == 0 {
		return 0, nil
	}
	acquired()
	w := r.theirs.window.Load()
	if w < Least || w > uint64(len(r.in)) || w&(w-1) != 0 || n > w {
		return 0, fmt.Errorf("%w: the writer says that %d bytes are there, in a window of %d", ErrBroken, n, w)
	}
	return n, nil
}

// TryRead is Read that does not wait: 0 where there is nothing, or where Read would fail.
func (r *Ring) TryRead(p []byte) int {
	n, err := r.available()
	if n == 0 || err != nil {
		return 0
	}
	return r.take(p, n)
}

// take reads from the n bytes that are there. The window is read again: whatever it is by now, it only chooses bytes.
func (r *Ring) take(p []byte, n uint64) int {
	w := r.theirs.window.Load()
	mask := min(w-1, uint64(len(r.in))-1)
	k := copyOut(p[:min(uint64(len(p)), n)], r.in, r.tail, mask)
	r.tail += uint64(k)
	r.mine.tail.Store(r.tail)
	// R6
	if e := r.theirs.waiting.Load(); e&1 == 1 && e != r.rungRoom {
		if left := n - uint64(k); left == 0 || left <= w/2 {
			r.rungRoom = e
			r.link.Bell() // where that fails, the connection has ended
		}
	}
	return k
}

// copyOut copies from byte number at on. The mask is below len(room), whatever the peer did.
func copyOut(p, room []byte, at, mask uint64) int {
	k := copy(p, room[at&mask:mask+1])
	if k < len(p) {
		k += copy(p[k:], room[:mask+1])
	}
	return k
}

func (r *Ring) readable() bool {
	return r.theirs.head.Load() != r.tail || r.interrupts.Load() || r.ended()
}

func (r *Ring) ended() bool { return r.over.Load() || r.end.Load() != nil }

// await waits until there may be something to read.
func (r *Ring) await() {
	if r.reading.spin(r.readable) || r.nap() {
		return
	}
	r.park(byBell)     // R2
	if !r.readable() { // R3
		r.hear(r.data, r.room) // R4
	}
	r.unpark() // R5: also after a bell for nothing, since this value has been rung for
}

// How who is parked is to be woken: the lower half of parked's two lowest bits.
const (
	byBell  = 1
	byFutex = 3
)

func (r *Ring) park(how uint32) { r.mine.parked.Store(r.mine.parked.Load() + how) }

// unpark makes parked the next multiple of 4.
func (r *Ring) unpark() { r.mine.parked.Store((r.mine.parked.Load() | 3) + 1) }

const (
	napTime  = 2 * time.Millisecond // who is away for longer can be woken by a bell, which costs more, but no thread meanwhile
	mostMiss = 6                    // after so many naps in vain, one in 2^6 waits begins with one
	mostNaps = 32                   // without letting Go's scheduler in
)

// napping is how many naps there are in this process: each holds up a thread, and one of Go's processors until the runtime takes note. One of
// those is left for the rest of the program.
var napping atomic.Int32

var mostNapping = int32(runtime.GOMAXPROCS(0) - 1)

// letIn lets Go's scheduler in. A goroutine that naps from call to call, and never does, is taken for one that keeps the processor from others: from 10 ms on, the runtime's
// own thread (sysmon) looks after it every 20 µs, and takes the processor from somebody each time.
var letIn = runtime.Gosched

// Nap lets the reader wait in a futex first, for a while: to be woken there costs less than over the connection. Both sides must do it.
func (r *Ring) Nap() { r.naps = true }

// nap is R2 to R5 with a futex, and says whether there is something to read.
func (r *Ring) nap() bool {
	if !r.naps {
		return false
	}
	if r.missed > 0 {
		if r.skipped++; r.skipped < 1<<r.missed {
			return false
		}
		r.skipped = 0
	}
	if r.napped++; r.napped >= mostNaps {
		r.napped = 0
		letIn()
	}
	defer napping.Add(-1)
	if napping.Add(1) > mostNapping {
		return false
	}
	r.park(byFutex)    // R2
	if !r.readable() { // R3
		waitChange(r.heads.theirs, uint32(r.tail), napTime) // R4
	}
	r.unpark() // R5
	if r.readable() {
		r.missed = 0
		return true
	}
	r.missed = min(r.missed+1, mostMiss)
	return false
}

// hear waits until something may have come over the connection. The reader and the writer may both wait: one of them reads from the
// connection, and wakes the other, by its token.
func (r *Ring) hear(mine, other chan struct{}) {
	select {
	case <-mine:
	case r.turn <- struct{}{}:
		select {
		case <-mine: // who had the turn before has heard it
		default:
			if err := r.link.Wait(); err != nil {
				r.finish(err)
			}
			give(other) // before the turn, which may be what the other takes
		}
		<-r.turn
	}
}

func (r *Ring) finish(err error) { r.end.CompareAndSwap(nil, &err) }

func give(token chan struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}

// Rang lets both look again: something came over the connection, and was read by somebody else.
func (r *Ring) Rang() {
	give(r.data)
	give(r.room)
}

// Hear says that the peer's stream has left the connection: those who wait read that from now on.
func (r *Ring) Hear() {
	r.hears.Store(true)
	r.Rang()
}

// End says that the connection has ended, before Hear: who writes is not to wait for its reader any more.
func (r *Ring) End(err error) {
	r.finish(err)
	r.Rang()
}

// Until reads the connection until done, in the reader's place: for what is to come there. It fails as Read does.
func (r *Ring) Until(done func() bool) error {
	for {
		end := r.end.Load()
		if done() {
			return nil
		}
		if err := r.stopped(end); err != nil {
			return err
		}
		r.hear(r.data, r.room)
	}
}

// Interrupt makes the Read that waits, or the next one that would, return os.ErrDeadlineExceeded, until it is undone.
func (r *Ring) Interrupt(on bool) {
	if r.interrupts.Store(on); on {
		r.poke()
	}
}

func (r *Ring) poke() {
	if r.naps {
		wake(r.heads.theirs, math.MaxInt32) // a nap of our own: the peer may have some wait there, too
	}
	r.Rang()
	if r.hears.Load() {
		r.link.Poke()
	}
}

// Ready says whether there is something to read. Only the reader may ask.
func (r *Ring) Ready() bool { return r.theirs.head.Load() != r.tail }

// Close ends the Read and the Write that wait, and all further ones, with net.ErrClosed.
func (r *Ring) Close() {
	r.over.Store(true)
	r.poke()
}
