package msg

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/internal/mem"
	"github.com/standpipe/standpipe/internal/ring"
)

// line is the connection: bytes, and the memory that comes with them.
type line struct {
	c      net.Conn
	h      handler    // nil: no memory can be handed over
	files  []*os.File // that came, and that no segment frame has explained yet: of who reads
	bells  bells
	giveUp atomic.Int64 // when announcements are given up, in nanoseconds since 1970: the Channel closes; 0: never
}

// handler is a connection that hands memory over, as a *standpipe.Conn.
type handler interface {
	WriteHandles(b []byte, files ...*os.File) (int, error)
	ReadHandles(b []byte) (int, []*os.File, error)
	ExportHandle(f *os.File) (uint64, error)
	ImportHandle(value uint64) (*os.File, error)
	RevokeHandle(value uint64, f *os.File) error
}

// byValue: memory travels as a value in the frame, not with its bytes.
const byValue = mem.Kind == "section"

const mostFiles = 64 // that may have come ahead of their frames

func (l *line) init(c net.Conn) {
	l.c = c
	if mem.Kind != "" {
		l.h, _ = c.(handler)
	}
}

// Read reads bytes, and keeps the files that came with them.
func (l *line) Read(p []byte) (int, error) {
	if l.h == nil || byValue {
		return l.c.Read(p)
	}
	if len(l.files) > mostFiles { // now: who reads may leave an error that comes beside bytes to the next Read
		return 0, protocolError("%d files came that no frame explains", len(l.files))
	}
	n, files, err := l.h.ReadHandles(p)
	l.files = append(l.files, files...)
	return n, err
}

func (l *line) SetWriteDeadline(t time.Time) error { return l.c.SetWriteDeadline(t) }

func (l *line) Write(p []byte) (int, error) { return l.c.Write(p) }

// WriteBuffers writes with one system call, where the connection can.
func (l *line) WriteBuffers(parts *net.Buffers) (int64, error) {
	if c, ok := l.c.(interface {
		WriteBuffers(*net.Buffers) (int64, error)
	}); ok {
		return c.WriteBuffers(parts)
	}
	return parts.WriteTo(l.c)
}

// export is the value that goes into a segment's frame.
func (l *line) export(f *os.File) (uint64, error) {
	if !byValue {
		return 0, nil
	}
	return l.h.ExportHandle(f)
}

// file is the memory of a segment's frame.
func (l *line) file(handle uint64) (*os.File, error) {
	switch {
	case byValue:
		return l.h.ImportHandle(handle)
	case handle != 0:
		return nil, errors.New("it has a handle value, which is for Windows")
	case len(l.files) == 0:
		return nil, errors.New("no file came with it")
	}
	f := l.files[0]
	l.files = l.files[1:]
	return f, nil
}

// end closes what nobody has asked for.
func (l *line) end() {
	for _, f := range l.files {
		f.Close()
	}
	l.files = nil
}

// announcement is a segment's frame, and the memory to go with it, or a retire, which must not be overtaken by the segment that follows.
type announcement struct {
	frame  []byte
	memory *os.File
}

// announce queues a segment's frame: it leaves with what is sent next, and beside a ring, at once. It does not wait. The file
// is closed, but not byValue.
func (w *writer) announce(f segmentFrame, memory *os.File) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || w.closed {
		w.line.close([]file{{memory, f.handle, 0}})
		return net.ErrClosed
	}
	if w.ring != nil || w.turning {
		w.beside = append(w.beside, announcement{f.append(nil), memory})
		w.goBeside()
		return nil
	}
	w.files = append(w.files, file{memory, f.handle, len(w.pending)})
	w.pending = f.append(w.pending)
	if f.ring && !w.writing { // perhaps nothing is sent from here, ever
		go w.flush()
	}
	return nil
}

// crowded: so many segments are announced that the peer has not read of.
func (w *writer) crowded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.beside) > 2*mostFiles
}

// goBeside has what is announced beside the ring written, once the stream has left the connection. The lock is held.
func (w *writer) goBeside() {
	if len(w.beside) == 0 || w.besides || w.turning {
		return
	}
	w.besides = true
	go func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for len(w.beside) > 0 && w.err == nil { // also when it closes: what is in the ring refers to them
			a := w.beside[0]
			w.beside = w.beside[1:]
			w.mu.Unlock()
			err := w.line.announce(a)
			w.mu.Lock()
			if err != nil && w.err == nil {
				w.err = err
				if w.closed && errors.Is(err, os.ErrDeadlineExceeded) {
					w.err = net.ErrClosed // the deadline is Close's
				}
				if w.cond.Broadcast(); !peerGone(err) {
					go w.line.c.Close()
				}
			}
		}
		w.besides = false
		w.noBeside()
		w.cond.Broadcast()
	}()
}

// noBeside closes what will not be sent. The lock is held.
func (w *writer) noBeside() {
	for _, a := range w.beside {
		if !byValue && a.memory != nil {
			a.memory.Close()
		}
	}
	w.beside = nil
}

func (l *line) announce(a announcement) (err error) {
	l.bells.turn.Lock()
	defer func() {
		l.bells.turn.Unlock()
		if l.bells.again.Load() {
			l.Bell()
		}
	}()
	var files []*os.File
	if !byValue && a.memory != nil {
		files = append(files, a.memory)
		defer a.memory.Close()
	}
	for n := 0; ; { // so small a frame goes as a whole or not at all
		if files == nil {
			n, err = l.c.Write(a.frame)
		} else {
			n, err = l.h.WriteHandles(a.frame, files...)
		}
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		now := time.Now().UnixNano()
		until := now + int64(bellTime)
		if last := l.giveUp.Load(); last != 0 {
			if now >= last {
				return err // the deadline is Close's
			}
			until = min(until, last)
		}
		l.bells.pause(l, until) // the deadline was a bell's
	}
}

// file is to be sent with the segment's frame that is at that byte of what is pending, or before.
type file struct {
	*os.File
	value uint64 // what the frame has instead, byValue: the file is its segment's then
	at    int
}

// close gives up files that are not to be sent any more.
func (l *line) close(files []file) {
	for _, f := range files {
		if byValue {
			l.h.RevokeHandle(f.value, f.File)
		} else {
			f.Close()
		}
	}
}

// portion takes what is to be written next from what is pending: all of it, but that so many files may go at once.
func (w *writer) portion() (b []byte, files []file) {
	b, w.pending = w.pending, nil
	files, w.files = w.files, nil
	if len(files) > mostFiles/2 {
		w.files = files[mostFiles/2:]
		files = files[:mostFiles/2]
		cut := w.files[0].at
		w.pending = append(w.pending, b[cut:]...)
		b = b[:cut]
		for i := range w.files {
			w.files[i].at -= cut
		}
	}
	return b, files
}

// writeFiles writes b with the files that belong to it.
func (l *line) writeFiles(b []byte, files []file) (int, error) {
	if byValue {
		return l.c.Write(b)
	}
	list := make([]*os.File, 0, len(files))
	for _, f := range files {
		list = append(list, f.File)
	}
	return l.h.WriteHandles(b, list...)
}

// unsent puts back what portion has taken, of which nothing was sent.
func (w *writer) unsent(b []byte, files []file) {
	for i := range w.files {
		w.files[i].at += len(b)
	}
	w.files = slices.Concat(files, w.files)
	w.pending = slices.Concat(b, w.pending)
	w.joined++
}

// goOver: the stream goes to the ring from the next write on, which is now, where nobody writes: until then the peer hears no bells on the
// connection while it waits for room.
func (w *writer) goOver(r *ring.Ring) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next = r; !w.writing && w.err == nil && !w.closed {
		w.writing = true
		go w.drainRest()
	}
}

const (
	tellTime = time.Millisecond // for a release to wait for something that is sent anyway
	mostTold = 1 << 20          // bytes that wait because the peer does not read
)

// When a frame about segments is to leave:
const (
	queued = iota // with what is sent next
	soon          // or after a while
	eager         // at once
)

// tell queues a frame about segments. It does not wait.
func (w *writer) tell(kind uint8, when int, numbers ...uint32) {
	w.mu.Lock()
	switch {
	case w.err != nil || w.closed:
		w.mu.Unlock()
		return
	case len(w.pending) > mostTold+highWater:
		w.err = protocolError("the peer sends buffers, but does not read their releases")
		w.cond.Broadcast()
		w.mu.Unlock()
		go w.line.c.Close()
		return
	}
	if kind == kindRetire && (w.ring != nil || w.turning) {
		for list := range slices.Chunk(numbers, besideNumbers) {
			w.beside = append(w.beside, announcement{appendNumbers(nil, kind, list...), nil})
		}
		w.goBeside()
		w.mu.Unlock()
		return
	}
	w.pending = appendNumbers(w.pending, kind, numbers...)
	switch {
	case when == queued, w.writing: // it leaves with what is under way, or the next
	case when == eager && w.slip():
		w.show()
		return
	case when == eager:
		go w.flush()
	case w.telling == nil:
		w.telling = time.AfterFunc(tellTime, func() {
			w.mu.Lock()
			w.telling = nil
			w.mu.Unlock()
			w.flush()
		})
	}
	w.mu.Unlock()
}

// broken is err as Recv and Send show it.
func broken(err error) error {
	if e, ok := err.(besideError); ok {
		return e.error
	}
	if errors.Is(err, ring.ErrBroken) {
		return &ProtocolError{Text: fmt.Sprint(err)}
	}
	return err
}
