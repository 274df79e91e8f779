package mem

import "unsafe"

const (
	leastMove = 4 << 10 // below, Go's own copy is as fast or faster
	pieceSize = 256 << 10
	mostCache = 2 << 20 // above, what is written first is in no cache any more when all is there
)

// Copy is copy, for memory that another process has read before and will read soon. Of that, the processor would fetch each line before it writes it, from the cache of
// the other's processor: where those are far from each other, an ordinary copy comes to a quarter of the speed. One instruction that is told all it has to do,
// does without. (Intel 64 and IA-32 Architectures Optimization Reference Manual, "Enhanced REP MOVSB and STOSB Operation".) Up to 2 MiB nothing goes past the caches, as Go's
// copy does from 1 MiB on: the other will look for it there.
func Copy(to, from []byte) int {
	if len(from) < leastMove {
		return copy(to, from)
	}
	return copyMuch(to, from)
}

func copyMuch(to, from []byte) int {
	n := min(len(to), len(from))
	if n < leastMove || n > mostCache || overlap(to[:n], from[:n]) {
		return copy(to, from)
	}
	slow := !moves || ahead(address(to), address(from))
	for at := 0; at < n; { // in pieces, since the garbage collector can't stop who copies
		k := min(n-at, pieceSize)
		if slow {
			copy(to[at:at+k], from[at:])
		} else {
			move(&to[at], &from[at], k)
		}
		at += k
	}
	return n
}

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// overlap: both are of one length.
func overlap(a, b []byte) bool {
	n := uintptr(len(a))
	return address(a) < address(b)+n && address(b) < address(a)+n
}

// ahead: what is written lies, in its page, less than a line behind what is read in its own. Some processors take the one for the other there, and the instruction comes
// to a twentieth of its speed: https://sourceware.org/bugzilla/show_bug.cgi?id=30994.
func ahead(to, from uintptr) bool {
	d := (to - from) & 4095
	return d > 0 && d < 64
}
