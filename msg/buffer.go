package msg

import (
	"encoding/json"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/standpipe/standpipe/internal/mem"
)

// A Buffer is a piece of memory for bulk data, made by Channel.NewBuffer or received with a Message. It belongs to one
// side at a time: to whoever made or received it, until it is sent or released. A copy of a Buffer is the same Buffer.
//
// The memory may be written by one goroutine at a time; the methods may be called by several. The zero Buffer is empty.
//
// With STANDPIPE_CHECK=1 in the environment, Bytes of a Buffer that was sent or released panics, and so does, as a fault, the use of
// memory that was kept from before.
type Buffer struct {
	m *memory
	n int // beside the pointer, since reflection of some codecs fails on a struct that is one pointer
}

type memory struct {
	view  []byte
	here  atomic.Bool // not sent, not released
	mark  atomic.Int32
	made  *made  // of our making, or
	taken *taken // received, or neither: the memory is not shared
}

var checks = os.Getenv("STANDPIPE_CHECK") == "1"

func newBuffer(m *memory) Buffer {
	m.here.Store(true)
	m.mark.Store(-1)
	return Buffer{m, len(m.view)}
}

func privateBuffer(view []byte) Buffer { return newBuffer(&memory{view: view}) }

// Bytes is the memory: yours to read, and to write where you made the Buffer; to write to a received one may be a fault that ends the
// program. It is nil once the Buffer was sent or released; a slice kept from before must not be used then.
//
// Where the memory is shared, a hostile sender could change it while it is read. (From a peer who runs as another user, it is a
// copy.)
func (b Buffer) Bytes() []byte {
	switch {
	case b.m == nil:
		return nil
	case b.m.here.Load():
		return b.m.view
	case checks && b.m.view != nil:
		panic(fmt.Sprintf("msg: Bytes of a Buffer of %d bytes that was sent or released: it belongs to another now", len(b.m.view)))
	}
	return nil
}

// Copy copies p to the beginning of the memory, and returns how much that was, as copy(b.Bytes(), p) does: but so that a receiver who reads soon finds it in the
// processor's caches. (Go copies 1 MiB and more past those.)
func (b Buffer) Copy(p []byte) int {
	return mem.Copy(b.Bytes(), p)
}

// Len is the size in bytes. It stays what it was when the Buffer is gone.
func (b Buffer) Len() int { return b.n }

// Shared says whether the memory is one that the other process sees, too. Otherwise its bytes are copied through the connection.
func (b Buffer) Shared() bool { return b.m != nil && (b.m.made != nil || b.m.taken != nil) }

// Valid says whether the Buffer is here: neither sent nor released. The zero Buffer never is.
func (b Buffer) Valid() bool { return b.m != nil && b.m.here.Load() }

// Release gives the memory back. A second Release, and one after Send, does nothing.
func (b Buffer) Release() { b.release(false) }

// release: where it is queued, the peer hears of it with what is sent next.
func (b Buffer) release(queue bool) {
	if b.m == nil || !b.m.here.CompareAndSwap(true, false) {
		return
	}
	switch {
	case b.m.made != nil:
		b.m.made.release()
	case b.m.taken != nil:
		b.m.taken.release(queue)
	case checks:
		b.poison()
	}
}

// take ends the owner's hold on the memory, for Send.
func (b Buffer) take() bool { return b.m == nil || b.m.here.CompareAndSwap(true, false) }

// sent: what was not sent in its own segment is not needed any more.
func (b Buffer) sent(ch *Channel) {
	switch {
	case b.m == nil:
	case b.m.made != nil && b.m.made.maker != &ch.sh.maker:
		b.m.made.release()
	case b.m.taken != nil:
		b.m.taken.release(false)
	case b.m.made == nil && checks:
		b.poison()
	}
}

func (b Buffer) poison() {
	for i := range b.m.view {
		b.m.view[i] = 0xdb
	}
}

// giveBack undoes take.
func (b Buffer) giveBack() {
	if b.m != nil {
		b.m.here.Store(true)
	}
}

// SetMark keeps a number with the Buffer, for codecs: its place among the buffers of a message. Mark is that number, and -1 where
// none was set.
func (b Buffer) SetMark(n int) {
	if b.m != nil {
		b.m.mark.Store(int32(n))
	}
}

// Mark is the number that SetMark has kept, and -1 where it has not.
func (b Buffer) Mark() int {
	if b.m == nil {
		return -1
	}
	return int(b.m.mark.Load())
}

// MarkedBuffer is an empty Buffer with that mark: what a codec decodes before it is known which Buffer is meant.
func MarkedBuffer(n int) Buffer {
	b := newBuffer(new(memory))
	b.SetMark(n)
	return b
}

const jsonKey = "$buffer"

// MarshalJSON writes the mark, as spec/memory.md, 4.10, says. A Buffer without one can't be written: its bytes travel beside a value,
// not in it.
func (b Buffer) MarshalJSON() ([]byte, error) {
	if b.m == nil {
		return []byte("null"), nil
	}
	if b.Mark() < 0 {
		return nil, fmt.Errorf("msg: a Buffer of %d bytes is no part of what is sent", b.Len())
	}
	return fmt.Appendf(nil, `{"%s":%d}`, jsonKey, b.Mark()), nil
}

// UnmarshalJSON reads a mark.
func (b *Buffer) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*b = Buffer{}
		return nil
	}
	var v map[string]int
	if err := json.Unmarshal(text, &v); err != nil {
		return fmt.Errorf("msg: %.100q is no reference to a Buffer: %w", text, err)
	}
	n, ok := v[jsonKey]
	if !ok || len(v) != 1 || n < 0 || n >= maxBuffers {
		return fmt.Errorf("msg: %.100q is no reference to a Buffer", text)
	}
	*b = MarkedBuffer(n)
	return nil
}
