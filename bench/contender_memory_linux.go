package main

import (
	"io"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/internal/mem"
)

// The floor of memory: a word, and one message in memory that both processes see, copied in at one side and out at the other. Who waits looks at the word, and does
// nothing else. Nobody can be woken and nothing is checked: it shows what the processor asks for moving the bytes between its cores.

func init() {
	register(contender{name: "memory", group: floors, over: "memory", parts: partLatency + partBulk, shared: "a connection each",
		note: "memory that both processes see, with a word that the other side looks at without end: what it costs to move the bytes, and nothing else; " +
			"one way, two messages in turns, copied in and looked at where they lie",
		serve: func(e *env) error {
			return serveSwapped(e, areaSize(largest), func(a *areas) {
				go a.watch()
				buf := make([]byte, largest)
				for n := uint64(1); a.wait(n); n++ {
					if word(a.theirs, onewayAt).Load() > 0 {
						sum.Add(touch(a.turn(a.theirs, n)))
						a.put(n, nil)
					} else {
						a.put(n, buf[:copy(buf, a.message())])
					}
				}
			})
		},
		dial: func(e *env) (client, error) { return &memoryClient{memoryLine{addr: e.addr}}, nil }})
}

// The layout of an area: the number of the message, at 0; its size; whether it goes one way; and the message, or the two in turns.
const (
	sizeAt    = 64
	onewayAt  = 72
	messageAt = 128
	turns     = 2
)

var sum atomic.Uint64

func areaSize(message int) int { return (messageAt + message + mem.Least - 1) &^ (mem.Least - 1) }

func word(area []byte, at int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&area[at])) }

// wait looks until message n is there. false: the other side has gone.
func (a *areas) wait(n uint64) bool {
	number := word(a.theirs, 0)
	for i := 1; number.Load() < n; i++ {
		if oneCPU {
			unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		}
		if i%(1<<20) == 0 {
			if a.gone.Load() {
				return false
			}
			runtime.Gosched()
		}
	}
	return true
}

// oneCPU: the other side looks, and copies, while this one does not.
var oneCPU = len(allowed()) == 1

func (a *areas) put(n uint64, b []byte) {
	word(a.mine, sizeAt).Store(uint64(len(b)))
	for to := a.mine[messageAt:]; len(b) > 0; { // Go's copy goes past the caches from 1 MiB on
		n := copy(to, b[:min(len(b), 256<<10)])
		to, b = to[n:], b[n:]
	}
	word(a.mine, 0).Store(n)
}

func (a *areas) message() []byte { return a.theirs[messageAt:][:word(a.theirs, sizeAt).Load()] }

// turn is where message n lies, of those that go one way.
func (a *areas) turn(area []byte, n uint64) []byte {
	size := word(area, sizeAt).Load()
	return area[messageAt+n%turns*size:][:size]
}

// memoryLine is a pair of areas for messages of one size, and the number of the last one.
type memoryLine struct {
	addr string
	size int
	*areas
	n uint64
}

// fit makes areas for so many messages of size bytes, where there are none of that size.
func (l *memoryLine) fit(size, messages int) (err error) {
	if l.areas != nil && l.size == size {
		return nil
	}
	l.close()
	if l.areas, err = dialSwapped(l.addr, areaSize(messages*size)); err != nil {
		return err
	}
	go l.watch()
	l.size, l.n = size, 0
	return nil
}

func (l *memoryLine) close() error {
	if l.areas == nil {
		return nil
	}
	return l.conn.Close()
}

type memoryClient struct{ memoryLine } // for messages one way

func (c *memoryClient) caller() (caller, error) {
	return &memoryCaller{memoryLine: memoryLine{addr: c.addr}}, nil
}

// stream copies into one message while the other side may look at the one before.
func (c *memoryClient) stream(msg []byte, count int) error {
	if err := c.fit(len(msg), turns); err != nil {
		return err
	}
	word(c.mine, sizeAt).Store(uint64(len(msg)))
	word(c.mine, onewayAt).Store(1)
	for range count {
		c.n++
		if c.n > turns && !c.wait(c.n-turns) {
			return io.ErrUnexpectedEOF
		}
		mem.Copy(c.turn(c.mine, c.n), msg)
		word(c.mine, 0).Store(c.n)
	}
	if !c.wait(c.n) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

type memoryCaller struct {
	memoryLine
	buf []byte
}

func (k *memoryCaller) call(req []byte) ([]byte, error) {
	if err := k.fit(len(req), 1); err != nil {
		return nil, err
	}
	if len(k.buf) != len(req) {
		k.buf = make([]byte, len(req))
	}
	k.n++
	k.put(k.n, req)
	if !k.wait(k.n) {
		return nil, io.ErrUnexpectedEOF
	}
	return k.buf[:copy(k.buf, k.message())], nil
}
