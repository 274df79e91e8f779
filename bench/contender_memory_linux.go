package main

import (
	"encoding/binary"
	"io"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/standpipe/standpipe/internal/mem"
)

// The floor of memory: a word and a message in memory that both processes see, copied in at one side and out at the other. Who waits looks at the word, and does
// nothing else. Nobody can be woken, nobody is checked, there is room for one message: it shows what the processor asks for moving the bytes between its cores.

func init() {
	register(contender{name: "memory", group: floors, over: "memory", parts: partLatency + partBulk,
		note: "shared memory for one message (one way: four), and a word that the other side looks at without end: what it costs to move the bytes, and nothing else",
		serve: func(e *env) error {
			return serveSwapped(e, areaSize(largest, false), func(a *areas) {
				mine, theirs := area(a.mine), area(a.theirs)
				watched := make(chan struct{})
				go func() { a.watch(); close(watched) }()
				buf, sum := make([]byte, largest), uint64(0)
				oneWay := theirs.word(kindAt).Load() != 0
				for n := uint64(1); theirs.wait(n, &a.gone); n++ {
					m := theirs.message(n, oneWay)
					if oneWay {
						sum += touch(m)
						mine.word(kindAt).Store(sum)
						mine.tell(n)
					} else {
						mine.put(n, buf[:copy(buf, m)], false)
					}
				}
				<-watched
				a.close()
			})
		},
		dial: func(e *env) (client, error) { return &memoryClient{addr: e.addr}, nil }})
}

// area is what one side writes: a word, and room for messages, each with its size.
type area []byte

const (
	areaHead = 4096
	kindAt   = 128 // of a client: not 0 where messages go one way
	rooms    = 4   // for messages one way
)

func areaSize(message int, oneWay bool) int {
	room := message + 8
	if oneWay {
		room = rooms * (room + 63) &^ 63
	}
	return (areaHead + room + mem.Least - 1) &^ (mem.Least - 1)
}

func (a area) word(at int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&a[at])) }
func (a area) tell(n uint64)              { a.word(0).Store(n) }

// wait looks until message n is there.
func (a area) wait(n uint64, gone *atomic.Bool) bool {
	for i := 1; a.word(0).Load() < n; i++ {
		if i%(1<<20) == 0 { // both processes on one CPU would wait for ever
			if gone.Load() {
				return false
			}
			runtime.Gosched()
		}
	}
	return true
}

func (a area) room(n uint64, oneWay bool) area {
	if !oneWay {
		return a[areaHead:]
	}
	size := (len(a) - areaHead) / rooms
	return a[areaHead+int(n%rooms)*size:][:size]
}

func (a area) put(n uint64, b []byte, oneWay bool) {
	room := a.room(n, oneWay)
	binary.LittleEndian.PutUint64(room, uint64(len(b)))
	copyPieces(room[8:], b)
	a.tell(n)
}

func (a area) message(n uint64, oneWay bool) []byte {
	room := a.room(n, oneWay)
	return room[8:][:binary.LittleEndian.Uint64(room)]
}

// copyPieces leaves the bytes in the processor's caches, where Go's copy goes past them from 1 MiB on.
func copyPieces(to, from []byte) {
	for len(from) > 0 {
		n := copy(to, from[:min(len(from), 256<<10)])
		to, from = to[n:], from[n:]
	}
}

type memoryClient struct{ addr string }

func (c *memoryClient) caller() (caller, error) { return &memoryCaller{c: c}, nil }
func (c *memoryClient) close() error            { return nil }

func (c *memoryClient) stream(msg []byte, n int) error {
	k := &memoryCaller{c: c}
	defer k.close()
	if err := k.connect(len(msg), true); err != nil {
		return err
	}
	for range n {
		k.n++
		if k.n > rooms && !area(k.theirs).wait(k.n-rooms, &k.gone) {
			return io.ErrUnexpectedEOF
		}
		area(k.mine).put(k.n, msg, true)
	}
	if !area(k.theirs).wait(k.n, &k.gone) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

type memoryCaller struct {
	c *memoryClient
	*areas
	n    uint64
	buf  []byte
	size int
}

func (k *memoryCaller) connect(size int, oneWay bool) (err error) {
	k.areas, err = dialSwapped(k.c.addr, areaSize(size, oneWay), func(mine []byte) {
		if oneWay {
			area(mine).word(kindAt).Store(1)
		}
	})
	if k.n, k.size, k.buf = 0, size, make([]byte, size); err == nil {
		go k.watch()
	}
	return err
}

func (k *memoryCaller) call(req []byte) ([]byte, error) {
	if k.areas == nil || k.size != len(req) {
		k.close()
		if err := k.connect(len(req), false); err != nil {
			return nil, err
		}
	}
	k.n++
	area(k.mine).put(k.n, req, false)
	if !area(k.theirs).wait(k.n, &k.gone) {
		return nil, io.ErrUnexpectedEOF
	}
	return k.buf[:copy(k.buf, area(k.theirs).message(k.n, false))], nil
}

func (k *memoryCaller) close() error {
	if k.areas != nil {
		k.areas.close()
		k.areas = nil
	}
	return nil
}
