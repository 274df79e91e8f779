package rpc

import "github.com/standpipe/standpipe/msg"

// packet is one message that came, an rpc frame, and its memory, which may be kept. Where that is nil, the data is lent.
type packet struct{ data, memory []byte }

// smallValue: a value up to this size is copied to memory that is there already.
const smallValue = 4 << 10

// keep is memory that ends with the value, which ends the packet, and may be kept.
func (p packet) keep(value []byte) []byte {
	if p.memory != nil {
		return p.memory
	}
	return append(msg.Alloc(len(value)), value...)
}

// inbox is the values that came and were not received. The small ones lie one behind the other.
type inbox struct {
	entries []entry // from first on
	first   int
	buf     []byte // from off on
	off     int
}

type entry struct {
	frame  int64  // bytes of the frame and of its Buffers, for the credit
	size   int    // of the value
	data   []byte // memory that ends with the value; nil: it is in buf
	beside []msg.Buffer
}

func (in *inbox) empty() bool { return in.first == len(in.entries) }

func (in *inbox) push(f *frame, m packet, beside []msg.Buffer) {
	e := entry{frame: int64(len(m.data)) + bytesOf(beside), size: len(f.value), beside: beside}
	if e.size > smallValue {
		e.data = m.keep(f.value)
	} else {
		if in.off > len(in.buf)/2 {
			in.buf = in.buf[:copy(in.buf, in.buf[in.off:])]
			in.off = 0
		}
		in.buf = append(in.buf, f.value...)
	}
	if in.first > len(in.entries)/2 {
		n := copy(in.entries, in.entries[in.first:])
		clear(in.entries[n:])
		in.entries, in.first = in.entries[:n], 0
	}
	in.entries = append(in.entries, e)
}

// pop takes the first value. A small one is copied to small; another one comes with its memory.
func (in *inbox) pop(small []byte) (e entry, value []byte) {
	e = in.entries[in.first]
	in.entries[in.first] = entry{}
	in.first++
	if e.data != nil {
		value = e.data[len(e.data)-e.size:]
	} else {
		value = append(small[:0], in.buf[in.off:in.off+e.size]...)
		in.off += e.size
	}
	if in.empty() {
		in.entries, in.first, in.buf, in.off = in.entries[:0], 0, in.buf[:0], 0
		if cap(in.buf) > leastWindow {
			in.buf = nil
		}
	}
	return e, value
}

// drop throws everything away, and says how many bytes of values that was.
func (in *inbox) drop() (n int64) {
	for _, e := range in.entries[in.first:] {
		n += int64(e.size) + private(e.beside)
		msg.Free(e.data)
		releaseAll(e.beside)
	}
	*in = inbox{}
	return n
}
