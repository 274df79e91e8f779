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
		dial: func(e *env) (client, error) { return &memoryClient{addr: e.addr}, nil }})
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

type memoryClient struct {
	addr   string
	oneway *areas // for messages of one size
	n      uint64
}

func (c *memoryClient) caller() (caller, error) { return &memoryCaller{addr: c.addr}, nil }

// stream copies into one message while the other side may look at the one before.
func (c *memoryClient) stream(msg []byte, count int) error {
	if c.oneway == nil || int(word(c.oneway.mine, sizeAt).Load()) != len(msg) {
		c.close()
		var err error
		if c.oneway, err = dialSwapped(c.addr, areaSize(turns*len(msg))); err != nil {
			return err
		}
		go c.oneway.watch()
		word(c.oneway.mine, sizeAt).Store(uint64(len(msg)))
		word(c.oneway.mine, onewayAt).Store(1)
		c.n = 0
	}
	a := c.oneway
	for range count {
		c.n++
		if c.n > turns && !a.wait(c.n-turns) {
			return io.ErrUnexpectedEOF
		}
		mem.Copy(a.turn(a.mine, c.n), msg)
		word(a.mine, 0).Store(c.n)
	}
	if !a.wait(c.n) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (c *memoryClient) close() error {
	if c.oneway == nil {
		return nil
	}
	return c.oneway.conn.Close()
}

type memoryCaller struct {
	addr string
	*areas
	n   uint64
	buf []byte
}

func (k *memoryCaller) call(req []byte) ([]byte, error) {
	if len(k.buf) != len(req) {
		k.close()
		var err error
		if k.areas, err = dialSwapped(k.addr, areaSize(len(req))); err != nil {
			return nil, err
		}
		go k.watch()
		k.n, k.buf = 0, make([]byte, len(req))
	}
	k.n++
	k.put(k.n, req)
	if !k.wait(k.n) {
		return nil, io.ErrUnexpectedEOF
	}
	return k.buf[:copy(k.buf, k.message())], nil
}

func (k *memoryCaller) close() error {
	if k.areas == nil {
		return nil
	}
	return k.conn.Close()
}
