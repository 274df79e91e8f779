package msg

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

// writer coalesces: whoever finds nobody writing writes at once; what comes meanwhile goes out together. So many senders
// cost few system calls, and a lone one has no hand-over.
type writer struct {
	c net.Conn

	mu       sync.Mutex
	cond     sync.Cond // of mu: a write has ended, or a sender's context
	rest     []byte    // of a write that was broken off; it goes before pending
	pending  []byte    // what waits to be written
	joined   int       // frames in pending, the hello aside
	batch    int       // frames in the last write: above 1, senders come at once, and a writer yields to them first
	large    int       // senders that wait to write their own memory; the small ones let them go first
	writing  bool
	broken   bool // the write under way was told to end
	closed   bool
	deadline time.Time // of all writes, once closed
	err      error
}

const (
	directSize = 256 << 10 // from here on a message is not copied, but written from the sender's memory
	mostWrites = 3         // of a sender, for itself and others
	mostQueued = 16        // frames that Queue leaves to others: the peer is to have something to do meanwhile
	highWater  = 256 << 10 // pending bytes above which senders wait
)

func (w *writer) init(c net.Conn, hello []byte, err error) {
	w.c, w.pending, w.err = c, hello, err
	w.cond.L = &w.mu
}

// send sends a frame of which h is the header and parts are the rest. When ctx ends, it does not wait any more: what the
// peer has not read by then is copied, and sent by a goroutine. queue: a small one need not be written yet.
func (w *writer) send(ctx context.Context, queue bool, h header, parts [][]byte) error {
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, w.breakOff)()
	}
	w.mu.Lock()
	direct := h.length >= directSize && (resumes || ctx.Done() == nil)
	if direct {
		w.large++
	}
	for w.err == nil && !w.closed && ctx.Err() == nil &&
		(w.writing && (direct || len(w.pending) > highWater) || !direct && w.large > 0) {
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
	left := ctx.Err() != nil || !resumes && ctx.Done() != nil
	w.pending = appendHeader(grow(w.pending, headerSize), h)
	w.joined++
	if direct && !left {
		w.writing = true
		return w.drain(parts)
	}
	for _, p := range parts {
		w.pending = append(grow(w.pending, len(p)), p...)
	}
	switch {
	case w.writing, queue && len(w.pending) < highWater && w.joined < mostQueued:
		w.mu.Unlock()
		return nil
	case left:
		w.writing = true
		w.mu.Unlock()
		go w.drainRest()
		return nil
	}
	w.writing = true
	if w.batch > 1 {
		w.mu.Unlock()
		runtime.Gosched() // others that can run add theirs
		w.mu.Lock()
	}
	return w.drain(nil)
}

// breakOff lets senders go that wait.
func (w *writer) breakOff() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writing && resumes && !w.closed {
		w.broken = true
		w.c.SetWriteDeadline(time.Unix(1, 0))
	}
	w.cond.Broadcast()
}

// flush writes what is pending, if nobody does.
func (w *writer) flush() {
	w.mu.Lock()
	if w.writing || w.err != nil || len(w.pending) == 0 {
		w.mu.Unlock()
		return
	}
	w.writing = true
	w.drain(nil)
}

// drain is called by the writer, who has set writing, with the lock held, and gives both back. The direct parts
// belong behind what is pending. It writes a few times at most, so that no sender is held up for the sake of others: what came
// meanwhile is left to a goroutine, which ends when nothing is pending.
func (w *writer) drain(direct [][]byte) error {
	w.write(direct)
	for i := 1; i < mostWrites && w.err == nil && len(w.rest) == 0 && len(w.pending) > 0; i++ {
		w.write(nil)
	}
	if w.err == nil && len(w.rest)+len(w.pending) > 0 {
		w.mu.Unlock()
		go w.drainRest()
		return nil
	}
	return w.end()
}

func (w *writer) drainRest() {
	w.mu.Lock()
	for w.err == nil && len(w.rest)+len(w.pending) > 0 {
		w.write(nil)
	}
	w.end()
}

// write writes what is pending, and the direct parts, with the lock released meanwhile.
func (w *writer) write(direct [][]byte) {
	b := w.rest
	w.rest = nil
	if len(b) == 0 {
		b, w.pending = w.pending, nil
		w.batch, w.joined = w.joined, 0
	}
	w.mu.Unlock()
	var left [][]byte
	var err error
	if len(direct) == 0 {
		var n int
		n, err = w.c.Write(b)
		left = [][]byte{b[n:]}
	} else {
		left, err = w.writeAll(append([][]byte{b}, direct...))
	}
	w.mu.Lock()
	if w.broken {
		w.broken = false
		w.c.SetWriteDeadline(w.deadline)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			w.rest = slices.Concat(left...)
			err = nil
		}
	}
	if w.err == nil {
		w.err = err
	}
	Free(b)
	w.cond.Broadcast()
}

// writeAll writes the parts with one system call, where the connection can, so that the header does not wake the peer alone. It
// says what is left of them.
func (w *writer) writeAll(parts net.Buffers) (left [][]byte, err error) {
	if c, ok := w.c.(interface {
		WriteBuffers(*net.Buffers) (int64, error)
	}); ok {
		_, err = c.WriteBuffers(&parts)
	} else {
		_, err = parts.WriteTo(w.c)
	}
	return parts, err
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
		w.deadline = time.Now().Add(closeTime)
		w.c.SetWriteDeadline(w.deadline)
		for w.writing {
			w.cond.Wait()
		}
		for w.err == nil && len(w.rest)+w.joined > 0 {
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
