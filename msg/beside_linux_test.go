package msg

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"
)

func fds() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

// A peer that does not read the connection, but says in the ring that it has released what it was sent, does not make this side keep descriptors without a limit.
func TestUnreadAnnouncements(t *testing.T) {
	a, b := ringersWith(t, &Config{Ring: RingOn, MaxShared: 1 << 20})
	go func() {
		for {
			if _, err := receive(a); err != nil {
				return
			}
		}
	}()
	before := fds()
	const n = 1000
	for i := range n {
		size := 512<<10 + 64<<10*(i%2) // each another than the one that is free
		buf, err := a.NewBuffer(t.Context(), size)
		if err != nil {
			t.Fatal(i, err)
		}
		if !buf.Shared() { // also well: copied
			buf.Release()
			continue
		}
		number := buf.m.made.number
		if err := a.Send(Message{Buffers: []Buffer{buf}}); err != nil {
			t.Fatal(err)
		}
		b.WithAreas(func(mine, theirs []byte) { // it has read that
			(*atomic.Uint64)(unsafe.Pointer(&mine[128])).Store((*atomic.Uint64)(unsafe.Pointer(&theirs[0])).Load())
		})
		b.w.tell(kindRelease, eager, number)
		for free := 0; free == 0; {
			free = freeOnes(a)
			runtime.Gosched()
		}
	}
	if more := fds() - before; more > 4*mostFiles {
		t.Errorf("%d descriptors more after %d buffers, one at a time", more, n)
	}
}
