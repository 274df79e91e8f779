package msg

import (
	"cmp"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// writer coalesces: whoever finds nobody writing writes at once; what comes meanwhile goes out together. So many senders
// cost few system calls, and a lone one has no hand-over.
type writer struct {
	c net.Conn

	mu      sync.Mutex
	cond    sync.Cond // of mu: a write has ended
	pending []byte    // what waits to be written; not to be touched by the writing goroutine, which swaps it
	spare   []byte
	joined  int // frames in pending, the hello aside
	batch   int // frames in the last write: above 1, senders come at once, and a writer yields to them first
	large   int // senders that wait to write their own memory; the small ones let them go first
	writing bool
	closed  bool
	err     error
}

const (
	directSize = 256 << 10 // from here on a message is not copied, but written from the sender's memory
	highWater  = 256 << 10 // pending bytes above which senders wait
	keepSpare  = 1 << 20   // a larger buffer is not kept
)

func (w *writer) init(c net.Conn, hello []byte, err error) {
	w.c, w.pending, w.err = c, hello, err
	w.cond.L = &w.mu
}

// send sends a frame of which h is the header and parts are the rest.
func (w *writer) send(h header, parts ...[]byte) error {
	w.mu.Lock()
	direct := h.length >= directSize
	if direct {
		w.large++
	}
	for w.err == nil && !w.closed && (w.writing && (direct || len(w.pending) > highWater) || !direct && w.large > 0) {
		w.cond.Wait()
	}
	if direct {
		w.large--
		w.cond.Broadcast()
	}
	if w.err != nil || w.closed {
		defer w.mu.Unlock()
		return cmp.Or(w.err, net.ErrClosed)
	}
	w.pending = appendHeader(w.pending, h)
	w.joined++
	if direct {
		return w.drain(parts)
	}
	for _, p := range parts {
		w.pending = append(w.pending, p...)
	}
	if w.writing {
		w.mu.Unlock()
		return nil
	}
	return w.drain(nil)
}

// flush writes what is pending, if nobody does.
func (w *writer) flush() {
	w.mu.Lock()
	if w.writing || w.err != nil || len(w.pending) == 0 {
		w.mu.Unlock()
		return
	}
	w.drain(nil)
}

// drain is called with the lock held and nobody writing; it becomes the writer, and gives the lock back. The direct parts
// belong behind what is pending. It writes once, so that no sender is held up for the sake of others: what came
// meanwhile is left to a goroutine, which ends when nothing is pending.
func (w *writer) drain(direct [][]byte) error {
	w.writing = true
	if w.batch > 1 && direct == nil {
		w.mu.Unlock()
		runtime.Gosched() // others that can run add theirs
		w.mu.Lock()
	}
	w.write(direct)
	if w.err == nil && len(w.pending) > 0 {
		w.mu.Unlock()
		go w.drainRest()
		return nil
	}
	return w.end()
}

func (w *writer) drainRest() {
	w.mu.Lock()
	for w.err == nil && len(w.pending) > 0 {
		w.write(nil)
	}
	w.end()
}

// write writes what is pending, and the direct parts, with the lock released meanwhile.
func (w *writer) write(direct [][]byte) {
	b := w.pending
	w.pending, w.batch, w.joined = w.spare[:0], w.joined, 0
	w.mu.Unlock()
	_, err := w.c.Write(b)
	for _, p := range direct {
		if err == nil && len(p) > 0 {
			_, err = w.c.Write(p)
		}
	}
	w.mu.Lock()
	if w.err == nil {
		w.err = err
	}
	w.spare = nil
	if cap(b) <= keepSpare {
		w.spare = b
	}
	w.cond.Broadcast()
}

// end: the writer gives the lock back, and the writing.
func (w *writer) end() error {
	w.writing = false
	w.cond.Broadcast()
	err := w.err
	w.mu.Unlock()
	if err != nil && !peerGone(err) {
		w.c.Close() // a torn stream is of no more use, and Recv must not wait on it
	}
	return err
}

// peerGone: the peer has closed. What it said last is still there to be received, and then the end.
func peerGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrClosedPipe)
}

// abort queues the last words.
func (w *writer) abort(reason string) {
	w.mu.Lock()
	if w.err == nil && !w.closed {
		w.pending = appendAbort(w.pending, reason)
		w.joined++
	}
	w.mu.Unlock()
}

// finish writes what is pending, within closeTime, and lets nobody send any more.
func (w *writer) finish() {
	w.mu.Lock()
	w.closed = true
	if w.err == nil && (w.joined > 0 || w.writing && w.batch > 0) { // more than a hello
		w.c.SetWriteDeadline(time.Now().Add(closeTime))
		for w.writing {
			w.cond.Wait()
		}
		if w.err == nil && w.joined > 0 {
			w.writing = true
			w.write(nil)
			w.writing = false
		}
	}
	if w.err == nil {
		w.err = net.ErrClosed
	}
	w.cond.Broadcast()
	w.mu.Unlock()
}
