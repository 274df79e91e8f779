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
	"sync/atomic"
	"syscall"
	"time"

	"github.com/standpipe/standpipe/internal/ring"
)

// writer coalesces: whoever finds nobody writing writes at once; what comes meanwhile goes out together. So many senders
// cost few system calls, and a lone one has no hand-over.
type writer struct {
	line  *line
	leave func()     // to be called when it was closed and nobody writes any more
	ring  *ring.Ring // where the stream goes from some point on, instead
	next  *ring.Ring // where it is to go from the next write on

	mu       sync.Mutex
	cond     sync.Cond // of mu: a write has ended, or a sender's context
	rest     []byte    // of a write that was broken off; it goes before pending
	pending  []byte    // what waits to be written
	joined   int       // frames in pending, the hello aside
	batch    int       // frames in the last write: above 1, senders come at once, and a writer yields to them first
	large    int       // senders that wait to write their own memory; the small ones let them go first
	writing  bool
	broken   bool        // the write under way was told to end
	turning  bool        // the write under way, or rest, ends the stream on the connection: it goes on in next
	telling  *time.Timer // until what tell has queued is written
	unseen   int         // frames in the ring of which the reader was not told
	files    []file      // to go with what is pending
	beside   []announcement
	besides  bool        // a goroutine writes them
	over     atomic.Bool // the stream has gone to the ring
	owed     bool        // a bell, when it has
	sent     int64       // bytes of frames and Buffers, see Usage
	closed   bool
	deadline time.Time // of all writes, once closed
	err      error
}

const (
	directSize = 256 << 10 // from here on a message is not copied, but written from the sender's memory
	mostWrites = 3         // of a sender, for itself and others
	mostQueued = 8         // frames that Queue leaves to others: the peer is to have something to do meanwhile
	highWater  = 256 << 10 // pending bytes above which senders wait
	mostHead   = 64        // a header, and a few releases before it
)

func (w *writer) init(l *line, leave func(), hello []byte, err error) {
	w.line, w.leave, w.pending, w.err = l, leave, hello, err
	w.cond.L = &w.mu
}

// stream is what bytes are written to.
type stream interface {
	Write([]byte) (int, error)
	WriteBuffers(*net.Buffers) (int64, error)
	SetWriteDeadline(time.Time) error
}

func (w *writer) stream() stream {
	if w.ring != nil {
		return w.ring
	}
	return w.line
}

// resumes: a write that its deadline ends says how much the peer will get, so that the rest can be written later.
func (w *writer) resumes() bool { return resumes || w.ring != nil }

// send sends a frame of which h is the header and parts are the rest. When ctx ends, it does not wait any more: what the
// peer has not read by then is copied, and sent by a goroutine. queue: a small one need not be written yet.
func (w *writer) send(ctx context.Context, queue bool, h header, parts [][]byte) error {
	w.mu.Lock()
	if w.err == nil && !w.closed {
		w.sent += headerSize + int64(h.length)
	}
	if w.ring != nil {
		if done, err := w.try(queue, h, parts); done {
			return err
		}
	}
	if ctx.Done() != nil {
		w.mu.Unlock() // ctx may have ended
		defer context.AfterFunc(ctx, w.breakOff)()
		w.mu.Lock()
	}
	direct := w.ring != nil || h.length >= directSize && (resumes || ctx.Done() == nil)
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
	left := ctx.Err() != nil || !w.resumes() && ctx.Done() != nil
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
	case w.writing, queue && ctx.Err() == nil && len(w.pending) < highWater && w.joined < mostQueued:
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

// try writes a frame into the ring, if nothing is before it and there is room: the usual case. The lock is held, and given
// back where it says done.
func (w *writer) try(queue bool, h header, parts [][]byte) (done bool, err error) {
	var head [mostHead]byte
	before := len(w.pending) // of tell
	if w.writing || w.large > 0 || w.err != nil || w.closed || len(w.rest)+len(w.files) > 0 || before > mostHead-headerSize {
		return false, nil
	}
	b := append(head[:0], w.pending...)
	if done, err = w.ring.TryWrite(appendHeader(b, h), parts); done && before > 0 {
		w.pending, w.joined = w.pending[:0], 0
	}
	switch {
	case err != nil:
		w.err = broken(err)
		return true, w.end()
	case done && queue && w.unseen < mostQueued:
		w.unseen++
		w.mu.Unlock()
	case done:
		w.show()
	}
	return done, nil
}

// slip puts what is pending into the ring, if it may go there and there is room. The lock is held; show is to follow.
func (w *writer) slip() bool {
	if w.ring == nil || w.writing || w.large > 0 || w.err != nil || w.closed || len(w.rest)+len(w.files) > 0 {
		return false
	}
	ok, _ := w.ring.TryWrite(w.pending, nil) // who writes next sees what is wrong
	if ok {
		Free(w.pending)
		w.pending, w.joined = nil, 0
	}
	return ok
}

// show tells the reader of the ring, if there is one, what is there. The lock is held, and given back.
func (w *writer) show() {
	w.unseen = 0
	if w.ring == nil {
		w.mu.Unlock()
		return
	}
	bell := w.ring.Publish()
	w.mu.Unlock()
	if bell {
		w.line.Bell() // where that fails, the reader hears of it
	}
}

// breakOff lets senders go that wait.
func (w *writer) breakOff() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writing && w.resumes() && !w.closed {
		w.broken = true
		w.stream().SetWriteDeadline(time.Unix(1, 0))
	}
	w.cond.Broadcast()
}

// flush writes what is pending, if nobody does.
func (w *writer) flush() {
	w.mu.Lock()
	switch {
	case w.writing || w.err != nil:
		w.mu.Unlock()
	case w.slip(), len(w.pending) == 0:
		w.show()
	case w.ring != nil: // it is full, and whoever flushes may be the one who is to read, without which the peer does not
		w.writing = true
		w.mu.Unlock()
		go w.drainRest()
	default:
		w.writing = true
		w.drain(nil)
	}
}

// drain is called by the writer, who has set writing, with the lock held, and gives both back. The direct parts
// belong behind what is pending. It writes a few times at most, so that no sender is held up for the sake of others: what came
// meanwhile is left to a goroutine, which ends when nothing is pending.
func (w *writer) drain(direct [][]byte) error {
	many := func() bool { return len(w.files) > mostFiles/2 && w.err == nil && len(w.rest) == 0 }
	if len(direct) > 0 && (w.next != nil || many()) { // the header goes where the rest goes, with nothing between
		at := len(w.pending) - headerSize
		var head [headerSize]byte
		copy(head[:], w.pending[at:])
		w.pending = w.pending[:at]
		for w.write(nil); many(); {
			w.write(nil)
		}
		if w.err == nil && len(w.rest)+len(w.pending) > 0 { // it was broken off, or others have added theirs
			w.pending = append(grow(w.pending, headerSize), head[:]...)
			for _, p := range direct {
				w.pending = append(grow(w.pending, len(p)), p...)
			}
			w.mu.Unlock()
			go w.drainRest()
			return nil
		}
		w.pending = append(grow(w.pending, headerSize), head[:]...)
	}
	for many() {
		w.write(nil)
	}
	w.write(direct)
	for i := 1; i < mostWrites && w.err == nil && len(w.rest) == 0 && len(w.pending) > 0; i++ {
		w.write(nil)
	}
	if w.err == nil && (w.next != nil || len(w.rest)+len(w.pending) > 0) { // goOver may have come while this wrote
		w.mu.Unlock()
		go w.drainRest()
		return nil
	}
	return w.end()
}

// drainRest writes until nothing is left, and the stream has gone where it is to go.
func (w *writer) drainRest() {
	w.mu.Lock()
	for w.err == nil && (w.next != nil || len(w.rest)+len(w.pending) > 0) {
		w.write(nil)
	}
	w.end()
}

// write writes what is pending, and the direct parts, with the lock released meanwhile.
func (w *writer) write(direct [][]byte) {
	b := w.rest
	w.rest = nil
	var files []file
	if len(b) == 0 {
		b, files = w.portion()
		if w.batch = w.joined; len(w.pending) == 0 {
			w.joined = 0
		}
		if w.next != nil && len(direct)+len(files)+len(w.pending) == 0 {
			b = appendHeader(grow(b, headerSize), header{kind: kindRing})
			w.turning = true
		}
	}
	out := w.stream()
	w.mu.Unlock()
	var left [][]byte
	var err error
	sent := 0
	switch {
	case len(files) > 0:
		sent, err = w.line.writeFiles(b, files)
		if left = append([][]byte{b[sent:]}, direct...); err == nil && len(direct) > 0 {
			left, err = writeAll(out, slices.Clone(direct))
		}
	case len(direct) == 0:
		sent, err = out.Write(b)
		left = [][]byte{b[sent:]}
	default:
		left, err = writeAll(out, append([][]byte{b}, direct...))
	}
	w.mu.Lock()
	if w.broken {
		w.broken = false
		out.SetWriteDeadline(w.deadline)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
			var rest []byte
			if len(direct) > 0 { // the sender's own memory
				rest = slices.Concat(left...)
			} else { // a copy for each sender who is broken off would be a heavy price
				rest, b = left[0], nil
			}
			if len(files) > 0 && sent == 0 {
				w.unsent(rest, files)
				files = nil
			} else {
				w.rest = rest
			}
		}
	}
	if byValue { // what was sent is the peer's
		files = slices.DeleteFunc(files, func(f file) bool { return f.at < sent })
	}
	w.line.close(files)
	if w.turning && err == nil && len(w.rest) == 0 {
		w.turning = false
		w.ring, w.next = w.next, nil
		if w.over.Store(true); w.owed {
			go w.line.Bell()
		}
		w.ring.SetWriteDeadline(w.deadline)
		w.goBeside()
	}
	if w.closed && errors.Is(err, os.ErrDeadlineExceeded) {
		err = net.ErrClosed // the deadline is Close's
	}
	if w.err == nil {
		w.err = broken(err)
	}
	Free(b)
	w.cond.Broadcast()
}

// writeAll writes the parts together, so that the header does not wake the peer alone. It says what is left of them.
func writeAll(out stream, parts net.Buffers) (left [][]byte, err error) {
	_, err = out.WriteBuffers(&parts)
	return parts, err
}

// end: the writer gives the lock back, and the writing.
func (w *writer) end() error {
	w.writing = false
	w.cond.Broadcast()
	err, closed := w.err, w.closed
	w.mu.Unlock()
	if closed {
		w.leave()
	}
	if err != nil && !peerGone(err) {
		w.line.c.Close() // a torn stream is of no more use, and Recv must not wait on it
	}
	return err
}

// peerGone: the peer has closed. What it said last is still there to be received, and then the end.
func peerGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrClosedPipe)
}

// blame is err, or what the peer did wrong that made the writer close the connection.
func (w *writer) blame(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if pe, ok := w.err.(*ProtocolError); ok {
		return pe
	}
	return err
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
	if w.unseen > 0 && !w.writing && w.err == nil {
		w.show()
		w.mu.Lock()
	}
	if w.err == nil && (w.joined > 0 || w.writing && w.batch > 0) { // more than a hello
		w.deadline = time.Now().Add(closeTime)
		w.stream().SetWriteDeadline(w.deadline)
		for w.writing {
			w.cond.Wait()
		}
		for w.err == nil && len(w.rest)+w.joined > 0 {
			w.writing = true
			w.write(nil)
			w.writing = false
		}
	}
	if w.besides && w.err == nil { // segments that what was sent refers to
		last := time.Now().Add(closeTime)
		w.line.giveUp.Store(last.UnixNano())
		w.line.SetWriteDeadline(last)
		for w.besides {
			w.cond.Wait()
		}
	}
	if w.err == nil {
		w.err = net.ErrClosed
	}
	if w.telling != nil {
		w.telling.Stop()
	}
	w.line.close(w.files)
	w.files = nil
	w.cond.Broadcast()
	w.mu.Unlock()
}

// ended says whether nothing can be sent any more.
func (w *writer) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed || w.err != nil
}

// left says, after the Channel was closed, whether nobody writes any more; whoever does ends by reap.
func (w *writer) left() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writing {
		return false
	}
	w.noBeside()
	return true
}
