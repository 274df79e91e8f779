// Package ring moves a stream of bytes each way between two processes through memory that both see, without system calls
// while both are awake. spec/memory.md, section 5, has the layout and the protocol; the labels R1 to R6 and W1 to W6 in
// the code are those of 5.6 and 5.7, and of the model in model/.
package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net"
	"os"
	"sync/atomic"
	"unsafe"
)

const (
	// Head is what an area has before its data.
	Head = 4096
	// Least and Most are the bounds of an area's room for data, which is a power of two.
	Least = 4096
	Most  = 16 << 20

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
	// Wait waits until something came over the connection, whatever it was. Only the reader calls it.
	Wait() error
	// Bell sends a bell. It may be called by several goroutines.
	Bell() error
}

// A Ring is one side's view: a stream to be read and one to be written, each by one goroutine at a time. The areas must stay
// mapped until neither does any more.
type Ring struct {
	link         Link
	mine, theirs *control
	out, in      []byte // the rooms

	// Of the reader:
	tail       uint64
	rungRoom   uint32
	reading    spinner
	readEnd    error // of the connection
	interrupts atomic.Bool

	_ [64]byte
	// Of the writer:
	head     uint64
	window   uint64
	seen     uint64 // the other side's tail
	rungData uint32
	calm     int
	writing  spinner
	deadline atomic.Int64 // of Write, in nanoseconds since 1970; 0: none

	over atomic.Bool
	room chan struct{} // the reader has heard something: the writer is to look again
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
		room:   make(chan struct{}, 1),
	}
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
		n, err := r.available()
		if n > 0 {
			return r.take(p, n), nil
		}
		if err == nil {
			err = r.await()
		}
		if err != nil {
			return 0, err
		}
	}
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
			r.link.Bell() // where that fails, Wait does, too
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
	return r.theirs.head.Load() != r.tail || r.interrupts.Load() || r.over.Load()
}

// await waits until there may be something to read.
func (r *Ring) await() error {
	switch {
	case r.interrupts.Load():
		return os.ErrDeadlineExceeded
	case r.over.Load():
		return net.ErrClosed
	case r.readEnd != nil:
		return r.readEnd
	case r.reading.spin(r.readable):
		return nil
	}
	r.mine.parked.Add(1) // R2
	if r.readable() {    // R3
		r.mine.parked.Add(1)
		return nil
	}
	err := r.link.Wait() // R4
	r.mine.parked.Add(1) // R5
	r.kick()
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		r.readEnd = err // what is in the ring is still read
		r.kick()
		return nil
	}
	return err
}

// kick lets the writer look again.
func (r *Ring) kick() {
	select {
	case r.room <- struct{}{}:
	default:
	}
}

// Interrupt makes the Read that waits, or the next one that would, return os.ErrDeadlineExceeded, until it is undone. Wait must
// be made to return by other means.
func (r *Ring) Interrupt(on bool) { r.interrupts.Store(on) }

// Ready says whether a Read would not wait. Only the reader may ask.
func (r *Ring) Ready() bool { return r.theirs.head.Load() != r.tail }

// Close ends the Read and the Write that wait, and all further ones, with net.ErrClosed.
func (r *Ring) Close() {
	r.over.Store(true)
	r.kick()
}
