package ring

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guarded is an area as its maker sees it, and as the other side does: for reading only. Around both there are pages that fault.
func guarded(t *testing.T, room int) (making, taking []byte) {
	t.Helper()
	size := Head + room
	fd, err := unix.MemfdCreate("guarded", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		t.Fatal(err)
	}
	view := func(prot int) []byte {
		around, err := unix.Mmap(-1, 0, size+2*Head, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Munmap(around) }) // what was put into it, too
		at := unsafe.Pointer(&around[Head])
		if _, err := unix.MmapPtr(fd, 0, at, uintptr(size), prot, unix.MAP_SHARED|unix.MAP_FIXED); err != nil {
			t.Fatal(err)
		}
		return unsafe.Slice((*byte)(at), size)
	}
	return view(unix.PROT_READ | unix.PROT_WRITE), view(unix.PROT_READ)
}

// TestGuards is TestHostile with memory at whose ends a step too far is a fault, and with the other side's area as it is: not to be
// written to. The rooms are of several sizes, and both sides' numbers begin where they are about to wrap.
func TestGuards(t *testing.T) {
	rounds := 150
	if testing.Short() {
		rounds = 15
	}
	for i, room := range []int{Least, 2 * Least, 64 << 10} {
		rnd := rand.New(rand.NewPCG(8, uint64(i)))
		mine, _ := guarded(t, room)
		evil, theirs := guarded(t, room)
		for range rounds {
			clear(mine)
			clear(evil)
			guardedRound(t, rnd, room, mine, theirs, (*control)(unsafe.Pointer(&evil[0])))
		}
	}
}

func guardedRound(t *testing.T, rnd *rand.Rand, room int, mine, theirs []byte, evil *control) {
	end := make(chan struct{})
	l := &link{in: make(chan struct{}, 1), out: make(chan struct{}, 1<<16), pokes: make(chan struct{}, 1), end: end}
	r, err := New(l, mine, theirs)
	if err != nil {
		t.Fatal(err)
	}
	r.Hear()
	start := -uint64(rnd.IntN(3 * room))
	if rnd.IntN(2) == 0 {
		start = 0
	}
	r.head, r.seen, r.tail = start, start, start
	evil.head.Store(start)
	evil.tail.Store(start)
	evil.window.Store(uint64(Least))
	r.SetWriteDeadline(time.Now().Add(4 * time.Millisecond))
	var ours sync.WaitGroup
	ours.Go(func() {
		p := make([]byte, room+100)
		for {
			n, err := r.Read(p[:1+rand.IntN(len(p))])
			if n > len(p) || err != nil && !errors.Is(err, ErrBroken) && !errors.Is(err, net.ErrClosed) {
				t.Error(n, err)
			}
			if err != nil {
				return
			}
		}
	})
	ours.Go(func() {
		for {
			if _, err := r.Write(make([]byte, 1+rand.IntN(2*room))); err != nil {
				if !errors.Is(err, ErrBroken) && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				return
			}
		}
	})
	var over atomic.Bool
	time.AfterFunc(3*time.Millisecond, func() { over.Store(true) })
	subtle := rnd.IntN(2) == 0
	for !over.Load() {
		scribble(rnd, r, evil, room, subtle)
		select {
		case l.in <- struct{}{}:
		default:
		}
	}
	r.Close()
	ours.Wait()
}

// scribble writes one number that the other side reads. A subtle one is possible.
func scribble(rnd *rand.Rand, r *Ring, evil *control, room int, subtle bool) {
	read, written := r.mine.tail.Load(), r.mine.head.Load()
	near := func(v uint64) uint64 {
		switch rnd.IntN(5) {
		case 0:
			return rnd.Uint64()
		case 1:
			return uint64(1) << rnd.IntN(64)
		case 2:
			return v + uint64(room) + uint64(rnd.IntN(3)) - 1
		}
		return v + uint64(rnd.IntN(2*room)) - uint64(room/2)
	}
	windows := []uint64{Least, uint64(room), uint64(room) / 2, 2 * uint64(room), Least - 1, 0, 1, 3}
	switch move := rnd.IntN(5); {
	case move == 0 && subtle:
		evil.head.Store(read + uint64(rnd.IntN(Least)))
	case move == 0:
		evil.head.Store(near(read))
	case move == 1 && subtle:
		evil.window.Store(windows[rnd.IntN(2)])
	case move == 1:
		evil.window.Store(windows[rnd.IntN(len(windows))])
	case move == 2 && subtle:
		evil.tail.Store(written)
	case move == 2:
		evil.tail.Store(near(written))
	case move == 3:
		evil.parked.Add(rnd.Uint32N(4))
	default:
		evil.waiting.Add(rnd.Uint32N(4))
	}
}
