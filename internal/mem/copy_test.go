package mem

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// Copy copies what copy copies, of every length, from and to everywhere, and nothing more.
func TestCopy(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	from := make([]byte, 2*mostCache)
	for i := range from {
		from[i] = byte(r.Uint32())
	}
	lengths := []int{0, 1, leastMove - 1, leastMove, leastMove + 1, pieceSize - 1, pieceSize, pieceSize + 1, 2*pieceSize + 77, mostCache, mostCache + 1}
	for range 200 {
		lengths = append(lengths, r.IntN(2*pieceSize))
	}
	for i, n := range lengths {
		at, off := r.IntN(5000), r.IntN(5000)
		if i%3 == 0 { // one just ahead of the other
			off = at + r.IntN(64)
		}
		to, want := bytes.Repeat([]byte{0xaa}, len(from)), bytes.Repeat([]byte{0xaa}, len(from))
		copy(want[at:at+n], from[off:off+n])
		if k := Copy(to[at:at+n], from[off:]); k != n || !bytes.Equal(to, want) {
			t.Fatalf("%d bytes from %d to %d: it says %d", n, off, at, k)
		}
		if k := Copy(to[at:], from[off:off+n]); k != n || !bytes.Equal(to, want) {
			t.Fatalf("%d bytes from %d to %d: it says %d", n, off, at, k)
		}
	}
}

// What overlaps is copied as if it did not.
func TestCopyOverlap(t *testing.T) {
	for _, d := range []int{-pieceSize - 5, -100, -1, 0, 1, 64, 100, pieceSize + 5} {
		b := make([]byte, 4*pieceSize)
		for i := range b {
			b[i] = byte(i ^ i>>8)
		}
		want := bytes.Clone(b)
		at, n := pieceSize+100, pieceSize+3000
		copy(want[at+d:at+d+n], want[at:at+n])
		Copy(b[at+d:at+d+n], b[at:at+n])
		if !bytes.Equal(b, want) {
			t.Errorf("%d bytes by %d", n, d)
		}
	}
}

func BenchmarkCopy(b *testing.B) {
	for _, n := range []int{1 << 10, 4 << 10, 64 << 10, 1 << 20, 64 << 20} {
		from, to := make([]byte, n), make([]byte, n)
		for name, f := range map[string]func(to, from []byte) int{"Copy": Copy, "copy": func(to, from []byte) int { return copy(to, from) }} {
			b.Run(fmt.Sprint(n>>10, "KiB/", name), func(b *testing.B) {
				b.SetBytes(int64(n))
				for b.Loop() {
					f(to, from)
				}
			})
		}
	}
}
