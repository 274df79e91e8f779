package msg

import (
	"math/bits"
	"sync"
	"time"
	"unsafe"
)

// Memory for messages is used again, in sizes that are powers of two. Pieces above the largest are left to the garbage
// collector.
const (
	leastClass = 12 // 4 KiB
	largeClass = 16 // 64 KiB
	mostClass  = 27 // 128 MiB
)

// pools hold the first byte of each piece, since a pointer goes into a pool without being allocated itself; what is in
// pools[i] has 1<<(leastClass+i) bytes.
var pools [largeClass - leastClass]sync.Pool

// stack holds the large pieces. The one that was used last is used first, whichever thread asks: it is still in the cache of
// a core, and for large messages that counts for more than anything else here.
var stack struct {
	mu    sync.Mutex
	free  [mostClass - largeClass + 1][]*byte
	size  int  // bytes in free
	used  bool // since the sweep
	sweep *time.Timer
}

const (
	mostStacked = 256 << 20
	sweepTime   = 10 * time.Second
)

// classOf is the least class that has n bytes.
func classOf(n int) int { return max(bits.Len(uint(max(n, 1)-1)), leastClass) }

// pooled is an empty slice of at least n bytes that was used before, or nil.
func pooled(n int) []byte {
	c := classOf(n)
	var p *byte
	switch {
	case c < largeClass:
		p, _ = pools[c-leastClass].Get().(*byte)
	case c <= mostClass:
		p = pop(c)
	}
	if p == nil {
		return nil
	}
	return unsafe.Slice(p, 1<<c)[:0]
}

// Alloc is an empty slice with room for n bytes at least, of memory that was used before where there is some. Free gives it
// back.
func Alloc(n int) []byte {
	if b := pooled(n); b != nil {
		return b
	}
	if c := classOf(n); c <= mostClass {
		return make([]byte, 0, 1<<c)
	}
	return make([]byte, 0, n)
}

// Free gives back the memory of a message's data for use by later messages. It need not be called; who calls it must not
// use b, or any other part of the same memory, any more. Pieces that are too small or too large are left alone.
func Free(b []byte) {
	c := bits.Len(uint(cap(b))) - 1
	switch {
	case c < leastClass || c > mostClass:
	case c < largeClass:
		pools[c-leastClass].Put(unsafe.SliceData(b[:1]))
	default:
		push(c, unsafe.SliceData(b[:1]))
	}
}

func push(c int, p *byte) {
	s := &stack
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = true
	for i := 0; s.size+1<<c > mostStacked; i++ { // the large ones are the dear ones
		if i == c-largeClass {
			return
		}
		s.size -= len(s.free[i]) << (largeClass + i)
		s.free[i] = nil
	}
	s.size += 1 << c
	s.free[c-largeClass] = append(s.free[c-largeClass], p)
	if s.sweep == nil {
		s.sweep = time.AfterFunc(sweepTime, sweep)
	}
}

func pop(c int) *byte {
	s := &stack
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = true
	list := s.free[c-largeClass]
	if len(list) == 0 {
		return nil
	}
	p := list[len(list)-1]
	list[len(list)-1] = nil
	s.free[c-largeClass] = list[:len(list)-1]
	s.size -= 1 << c
	return p
}

// sweep leaves the large pieces to the garbage collector when nobody has used one for a while.
func sweep() {
	s := &stack
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used {
		s.used = false
		s.sweep.Reset(sweepTime)
		return
	}
	clear(s.free[:])
	s.size, s.sweep = 0, nil
}

// grow is b with room for n more bytes; where b has none, its memory is freed.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	more := append(Alloc(max(len(b)+n, 2*cap(b))), b...)
	Free(b)
	return more
}
