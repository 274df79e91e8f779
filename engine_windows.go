package standpipe

import (
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// The engine: one completion port, and one goroutine, for all pipes of the process. os.File is not used because its
// reads and writes race with each other inside (internal/poll adds to one file offset under two locks), which every
// program that uses a duplex pipe under -race would be told of.
//
//	do ── submit ──> kernel ── packet ──> port ── done ──> do
//	        ^                                |
//	Close, deadlines: CancelIoEx ────────────┘   (also a cancelled operation is waited for)

// thePort starts the engine with the first pipe.
var thePort = sync.OnceValues(func() (windows.Handle, error) {
	port, err := windows.CreateIoCompletionPort(windows.InvalidHandle, 0, 0, 1)
	if err != nil {
		return 0, fmt.Errorf("no completion port: %w", err)
	}
	go runPort(port)
	return port, nil
})

func runPort(port windows.Handle) {
	for {
		var n uint32
		var key uintptr
		var ov *windows.Overlapped
		err := windows.GetQueuedCompletionStatus(port, &n, &key, &ov, windows.INFINITE)
		if ov == nil {
			panic("standpipe: the completion port is gone: " + err.Error()) // nobody closes it
		}
		(*operation)(unsafe.Pointer(ov)).done <- struct{}{}
	}
}

// operation is one call in flight. What the kernel has of it, ov and buf, stays as it is until done has been received.
type operation struct {
	ov   windows.Overlapped // first: its address is the operation's
	buf  []byte             // also moves the caller's slice to the heap: stacks move, the heap does not
	n    uint32
	done chan struct{} // buffered: the port never waits
}

// half is one direction of a pipe.
type half struct {
	turn sync.Mutex // held by whoever calls do: one operation at a time, in turns
	op   operation

	mu      sync.Mutex // guards the rest
	closed  bool
	flying  bool // op is the kernel's
	expired bool // the deadline has passed
	// aborted: a deadline cancelled what is flying. It belongs to the operation: by the time that its goroutine wakes up,
	// the deadline may have been moved, and expired be false again.
	aborted bool
	timer   *time.Timer
}

// file is a handle on the port.
type file struct {
	h       windows.Handle
	packets bool // every operation but a failed one posts a packet, not only pending ones
	r, w    half
	use     sync.RWMutex // held for reading by control; Close waits for it
	gone    atomic.Bool  // Close was called
}

// newFile takes h over, also where it fails. With packets, a success is not reported at once but through the port: a read
// that ends with ERROR_MORE_DATA is no success to FILE_SKIP_COMPLETION_PORT_ON_SUCCESS, so whether a packet follows
// would be uncertain. Pipes that keep messages need it.
func newFile(h windows.Handle, packets bool) (*file, error) {
	f := &file{h: h, packets: packets}
	f.r.op.done, f.w.op.done = make(chan struct{}, 1), make(chan struct{}, 1)
	port, err := thePort()
	if err == nil {
		_, err = windows.CreateIoCompletionPort(h, port, 0, 0)
	}
	if err == nil {
		modes := uint8(windows.FILE_SKIP_SET_EVENT_ON_HANDLE)
		if !packets {
			modes |= windows.FILE_SKIP_COMPLETION_PORT_ON_SUCCESS
		}
		err = windows.SetFileCompletionNotificationModes(h, modes)
	}
	if err != nil {
		windows.CloseHandle(h)
		return nil, err
	}
	return f, nil
}

// do runs one operation of x to its end: submit hands it to the kernel. The caller holds x.turn. The error is net.ErrClosed,
// os.ErrDeadlineExceeded, or the system's.
func (f *file) do(x *half, b []byte, submit func(h windows.Handle, b []byte, n *uint32, ov *windows.Overlapped) error) (int, error) {
	x.mu.Lock()
	if err := x.ended(); err != nil {
		x.mu.Unlock()
		return 0, err
	}
	x.op.ov, x.op.buf, x.op.n = windows.Overlapped{}, b, 0
	err := submit(f.h, b, &x.op.n, &x.op.ov)
	pending := err == windows.ERROR_IO_PENDING || f.packets && (err == nil || err == windows.ERROR_MORE_DATA)
	x.flying, x.aborted = pending, false
	x.mu.Unlock()
	if pending {
		<-x.op.done
		x.op.n = 0
		err = windows.GetOverlappedResult(f.h, &x.op.ov, &x.op.n, false)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.flying, x.op.buf = false, nil
	if err == windows.ERROR_OPERATION_ABORTED {
		switch {
		case x.closed:
			err = net.ErrClosed
		case x.aborted:
			err = os.ErrDeadlineExceeded
		}
	}
	return int(x.op.n), err
}

// read, write and connect: the caller holds the half's turn. connect is the read half's.

func (f *file) read(b []byte) (int, error) {
	n, err := f.do(&f.r, b, submitRead)
	return n, opRead.means(err)
}

func (f *file) write(b []byte) (int, error) {
	n, err := f.do(&f.w, b, submitWrite)
	return n, opWrite.means(err)
}

// connect calls posted when the kernel knows that a client is waited for.
func (f *file) connect(posted func()) error {
	_, err := f.do(&f.r, nil, func(h windows.Handle, _ []byte, _ *uint32, ov *windows.Overlapped) error {
		defer posted()
		return windows.ConnectNamedPipe(h, ov)
	})
	return opConnect.means(err)
}

func submitRead(h windows.Handle, b []byte, n *uint32, ov *windows.Overlapped) error {
	return windows.ReadFile(h, b, n, ov)
}

func submitWrite(h windows.Handle, b []byte, n *uint32, ov *windows.Overlapped) error {
	return windows.WriteFile(h, b, n, ov)
}

// ended is the error that an operation of x would end with at once. The caller holds x.mu.
func (x *half) ended() error {
	switch {
	case x.closed:
		return net.ErrClosed
	case x.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// control gives fn the handle, which stays open meanwhile.
func (f *file) control(fn func(h windows.Handle) error) error {
	f.use.RLock()
	defer f.use.RUnlock()
	f.r.mu.Lock()
	closed := f.r.closed
	f.r.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	return fn(f.h)
}

// Close ends what waits, and returns when the kernel has let go of all of it and the handle is closed. A second Close
// returns net.ErrClosed, at once.
func (f *file) Close() error {
	if f.gone.Swap(true) {
		return net.ErrClosed
	}
	f.abort()
	f.r.turn.Lock() // control is also called by those who have a turn: turns first
	defer f.r.turn.Unlock()
	f.w.turn.Lock()
	defer f.w.turn.Unlock()
	f.use.Lock()
	defer f.use.Unlock()
	return windows.CloseHandle(f.h)
}

// abort ends what waits, and lets nothing else begin. The handle stays open.
func (f *file) abort() {
	for _, x := range []*half{&f.r, &f.w} {
		x.mu.Lock()
		x.closed = true
		if x.timer != nil {
			x.timer.Stop()
		}
		if x.flying {
			windows.CancelIoEx(f.h, &x.op.ov) // not found: it has just ended
		}
		x.mu.Unlock()
	}
}

func (f *file) SetDeadline(t time.Time) error {
	if err := f.setDeadline(&f.r, t); err != nil {
		return err
	}
	return f.setDeadline(&f.w, t)
}

func (f *file) SetReadDeadline(t time.Time) error { return f.setDeadline(&f.r, t) }

func (f *file) SetWriteDeadline(t time.Time) error { return f.setDeadline(&f.w, t) }

func (f *file) setDeadline(x *half, t time.Time) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return net.ErrClosed
	}
	if x.timer != nil {
		x.timer.Stop()
		x.timer = nil
	}
	x.expired = false
	if t.IsZero() {
		return nil
	}
	left := time.Until(t)
	if left <= 0 {
		f.expire(x)
		return nil
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.timer == timer && !x.closed { // else it was moved while this waited for mu
			f.expire(x)
		}
	})
	x.timer = timer
	return nil
}

// expire: the caller holds x.mu.
func (f *file) expire(x *half) {
	x.expired = true
	if x.flying {
		x.aborted = true
		windows.CancelIoEx(f.h, &x.op.ov)
	}
}
