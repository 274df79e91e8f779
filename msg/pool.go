package msg

import (
	"math/bits"
	"sync"
	"unsafe"
)

// Memory for messages is used again, in sizes that are powers of two. Larger pieces are left to the garbage collector.
const (
	leastClass = 12 // 4 KiB
	mostClass  = 22 // 4 MiB
)

// pools hold the first byte of each piece, since a pointer goes into a pool without being allocated itself; what is in
// pools[i] has 1<<(leastClass+i) bytes.
var pools [mostClass - leastClass + 1]sync.Pool

// classOf is the least class that has n bytes.
func classOf(n int) int { return max(bits.Len(uint(max(n, 1)-1)), leastClass) }

// pooled is an empty slice of at least n bytes that was used before, or nil.
func pooled(n int) []byte {
	c := classOf(n)
	if c > mostClass {
		return nil
	}
	p, _ := pools[c-leastClass].Get().(*byte)
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
	if c < leastClass || cap(b) > 1<<(mostClass+1) {
		return
	}
	c = min(c, mostClass)
	pools[c-leastClass].Put(unsafe.SliceData(b[:1]))
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
