package msg

import "sync/atomic"

// A Buffer is a piece of memory for bulk data, made by Channel.NewBuffer or received with a Message. It belongs to one
// side at a time: to whoever made or received it, until it is sent or released. A copy of a Buffer is the same Buffer.
//
// The memory may be written by one goroutine at a time; the methods may be called by several. The zero Buffer is empty.
type Buffer struct{ m *memory }

type memory struct {
	bytes atomic.Pointer[[]byte] // nil: sent or released
	size  int
}

func newMemory(b []byte) Buffer {
	m := &memory{size: len(b)}
	m.bytes.Store(&b)
	return Buffer{m}
}

// Bytes is the memory: yours to read, and to write where you made the Buffer. It is nil once the Buffer was sent or
// released; a slice kept from before must not be used then.
func (b Buffer) Bytes() []byte {
	if b.m == nil {
		return nil
	}
	if p := b.m.bytes.Load(); p != nil {
		return *p
	}
	return nil
}

// Len is the size in bytes. It stays what it was when the Buffer is gone.
func (b Buffer) Len() int {
	if b.m == nil {
		return 0
	}
	return b.m.size
}

// Release gives the memory back. A second Release, and one after Send, does nothing.
func (b Buffer) Release() {
	if b.m != nil {
		b.m.bytes.Store(nil)
	}
}

// take ends the owner's hold on the memory, for Send.
func (b Buffer) take() ([]byte, bool) {
	if b.m == nil {
		return nil, true
	}
	if p := b.m.bytes.Swap(nil); p != nil {
		return *p, true
	}
	return nil, false
}

// giveBack undoes take.
func (b Buffer) giveBack(bytes []byte) {
	if b.m != nil {
		b.m.bytes.Store(&bytes)
	}
}
