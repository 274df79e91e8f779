package rpc

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/msg"
)

const (
	leastWindow = 64 << 10 // what every side takes on a stream before its user has read; what ours takes at first
	mostWindow  = 4 << 20  // what it grows to for a user who keeps up
	keenTime    = 250 * time.Microsecond
)

// stream is one end of a stream: the untyped core of Stream. The reader calls push, give, answered and lost, none of which
// blocks.
type stream struct {
	p     *Peer
	id    uint32
	ours  bool // opened here
	codec Codec
	ctx   context.Context // the opener's, or the handler's
	hctx  *callContext    // the handler's
	stop  func() bool     // ends the watch on the opener's context

	recv     sync.Mutex // held by Recv: one at a time
	buf      []byte     // of recv: a small value
	creditTo [12]byte   // of recv: a credit frame
	send     sync.Mutex // held by Send: values leave in order
	begun    bool       // of send: the handler's header has left

	took time.Time   // of recv, in a handler: when it got the last value
	keen atomic.Bool // a handler that comes back for the next value at once; it may read for itself

	mu      sync.Mutex
	in      inbox
	ready   chan struct{} // a token, once for each time that waiting was set: Recv is to look again
	waiting bool
	inEnd   error // what Recv returns behind the inbox
	ended   bool  // the opener's end is here
	given   int64 // credit that the other side has left
	owed    int64 // what the user has taken, and the other side was not told of
	window  int64
	shared  int64 // the most bytes of shared memory in a frame that came

	header    Metadata
	gotHeader bool
	headed    chan struct{} // made when somebody waits for the header
	trailer   Metadata

	roomy   chan struct{} // as ready, for a Send that waits for credit
	blocked bool
	credit  int64
	outEnd  error // what Send returns
	sending int   // frames on their way into the connection
	idle    chan struct{}
	overrun *Error        // a handler's stream has got more than is kept: how it fails
	closed  bool          // the called side's close is here: the number is free when nothing is sending
	left    bool          // this side does not care any more
	over    chan struct{} // closed at the end, where an interceptor waits for that
	done    bool          // it has ended: nobody will close over any more
	told    bool          // Recv has returned the end
	proof   proof
}

// proof is a frame that the other side has read when it has given credit for it. See Peer.quick.
type proof struct{ sent, given, at, mark int64 }

func newStream(p *Peer, id uint32, ours bool, credit int64) *stream {
	return &stream{p: p, id: id, ours: ours, credit: credit, given: leastWindow, window: leastWindow,
		ready: make(chan struct{}, 1), roomy: make(chan struct{}, 1)}
}

// wake lets Recv and Send look again. mu is held.
func (s *stream) wake() {
	if s.waiting {
		s.waiting = false
		s.p.waiting.Add(-1)
		s.ready <- struct{}{}
	}
	s.wakeSend()
}

func (s *stream) wakeSend() {
	if s.blocked {
		s.blocked = false
		s.p.waiting.Add(-1)
		s.roomy <- struct{}{}
	}
}

// head takes the header, or that there is none. mu is held.
func (s *stream) head(block []byte) {
	s.gotHeader = true
	s.header = parseMetadata(block)
	if s.headed != nil {
		close(s.headed)
		s.headed = nil
	}
}

// push takes a data frame of the other side.
func (s *stream) push(f *frame, m packet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var beside []msg.Buffer
	if f.has(flagValue) {
		beside = s.p.takeBuffers()
	}
	n := int64(len(m.data)) + bytesOf(beside)
	s.shared = max(s.shared, bytesOf(beside)-private(beside))
	wanted := false
	defer func() {
		if !wanted {
			releaseAll(beside)
		}
	}()
	switch {
	case s.ended:
		return fmt.Errorf("stream %d got data behind its end", s.id)
	case f.has(flagEnd) && s.ours, f.has(flagMeta) && (!s.ours || s.gotHeader):
		return fmt.Errorf("stream %d got a data frame with the flags %#x, from the wrong side or too late", s.id, f.flags)
	case s.given <= 0:
		return fmt.Errorf("stream %d got %d bytes without credit", s.id, n)
	}
	s.given -= n
	if s.ours && !s.gotHeader {
		s.head(f.meta)
	}
	s.ended = f.has(flagEnd)
	if s.inEnd != nil {
		return nil // nobody wants it
	}
	if f.has(flagValue) {
		if err := s.p.hold(int64(len(f.value)) + private(beside)); err != nil {
			s.stopWith(err)
			return nil
		}
		wanted = true
		s.in.push(f, m, beside)
	} else {
		s.owed += n
	}
	if s.ended {
		s.inEnd = io.EOF
	}
	if s.waiting {
		s.waiting = false
		s.p.waiting.Add(-1)
		s.ready <- struct{}{}
	}
	return nil
}

// give takes credit from the other side.
func (s *stream) give(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.credit += n; s.credit > maxCredit {
		return fmt.Errorf("stream %d was given a credit of %d bytes", s.id, s.credit)
	}
	s.proof.given += n
	if s.proof.mark != 0 && s.proof.given >= s.proof.at {
		s.p.heard(s.proof.mark)
		s.proof.mark = 0
	}
	s.wakeSend()
	return nil
}

// answered takes the called side's close.
func (s *stream) answered(f *frame, fail *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
	}
	if !s.gotHeader {
		s.head(f.header)
	}
	s.trailer = parseMetadata(f.meta)
	s.closed = true
	if s.inEnd == nil {
		s.inEnd = io.EOF
		if fail != nil {
			s.inEnd = fail
		}
	}
	if s.outEnd == nil {
		s.outEnd = io.EOF
	}
	s.wake()
	s.finished()
	s.settle()
}

// settle: nothing is sending any more, perhaps. mu is held.
func (s *stream) settle() {
	if s.sending > 0 {
		return
	}
	if s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
	if s.ours && s.closed {
		s.p.out.free(s.id)
	}
}

// lost: the connection has ended.
func (s *stream) lost(err *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
	}
	if !s.gotHeader {
		s.head(nil)
	}
	if s.inEnd == nil {
		s.inEnd = err
	}
	if s.outEnd == nil {
		s.outEnd = err
	}
	s.wake()
	s.finished()
}

// stopWith ends the stream at this side: what came is thrown away, and the other side is told, by a cancel or by the handler's
// context. mu is held.
func (s *stream) stopWith(err *Error) {
	if s.left {
		return
	}
	s.left = true
	if !s.closed {
		s.inEnd, s.outEnd = err, err
	} else if s.inEnd == nil || !s.in.empty() {
		s.inEnd = err
	}
	s.p.release(s.in.drop())
	if s.ours && !s.gotHeader {
		s.head(nil)
	}
	s.finished()
	reads := s.waiting || s.blocked
	s.wake()
	if reads {
		s.p.ch.Interrupt() // it may be the one who receives
	}
	switch {
	case !s.ours && err.Code == ResourceExhausted:
		s.overrun = err
		go s.hctx.cancel(context.Canceled)
	case s.ours && !s.closed:
		s.sending++
		go func() {
			s.p.ch.SendData(context.Background(), appendCancel(nil, s.id, cancelCode(err)))
			s.sent()
		}()
	}
}

func cancelCode(err *Error) Code {
	if err.Code == DeadlineExceeded {
		return DeadlineExceeded
	}
	return Canceled
}

// stopped: the context has ended.
func (s *stream) stopped(err *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopWith(err)
}

// current makes the stream end now where the opener's context has ended, and nobody has had the time to say so.
func (s *stream) current() {
	if s.ours && s.ctx.Err() != nil {
		s.stopped(contextError(s.ctx))
	}
}

// finished tells the interceptors around Open. mu is held.
func (s *stream) finished() {
	s.done = true
	if s.over != nil {
		close(s.over)
		s.over = nil
	}
}

// status is how the stream has ended.
func (s *stream) status() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inEnd == io.EOF {
		return nil
	}
	return s.inEnd
}

var (
	errClosedHere  = &Error{Code: Canceled, Message: "the stream was closed on this side"}
	errHandlerDone = &Error{Code: Canceled, Message: "the stream's handler has returned"}
	errSendClosed  = &Error{Code: FailedPrecondition, Message: "Send after CloseSend"}
)

// sent counts a frame out.
func (s *stream) sent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sending--
	s.settle()
}

// finish is for the called side, whose handler has returned and whose context has ended: nothing is sent any more when it
// returns.
func (s *stream) finish() (overrun *Error) {
	s.mu.Lock()
	overrun = s.overrun
	s.stopWith(errHandlerDone)
	s.outEnd = errHandlerDone
	if s.sending == 0 {
		s.mu.Unlock()
		return overrun
	}
	idle := make(chan struct{})
	s.idle = idle
	s.mu.Unlock()
	<-idle
	return overrun
}

// next is the next value, valid until the next call, with the Buffers beside it; owned is its memory, to be freed, where it has its own.
// recv is held.
func (s *stream) next() (value, owned []byte, beside []msg.Buffer, err error) {
	s.current()
	if !s.ours {
		if keen := !s.took.IsZero() && time.Since(s.took) < keenTime; keen != s.keen.Load() {
			s.keen.Store(keen)
		}
		defer func() { s.took = time.Now() }()
	}
	for {
		s.mu.Lock()
		if !s.in.empty() {
			e, value := s.in.pop(s.buf)
			if e.data == nil {
				s.buf = value
			}
			s.p.release(int64(e.size) + private(e.beside))
			credit := s.consumed(e.frame)
			s.mu.Unlock()
			for credit > 0 {
				b := appendCredit(s.creditTo[:0], s.id, uint32(credit))
				_, quick := s.p.quick(len(b))
				s.p.send(s.ctx, quick, b, nil)
				s.sent()
				s.mu.Lock()
				credit = s.consumed(0)
				s.mu.Unlock()
			}
			return value, e.data, e.beside, nil
		}
		if err = s.inEnd; err != nil {
			s.told = true
			s.mu.Unlock()
			return nil, nil, nil, err
		}
		s.waiting = true
		s.p.waiting.Add(1)
		s.mu.Unlock()
		s.p.await(s.ready)
	}
}

// consumed counts what the user has taken, and says how much credit to send now, if any; that counts as sending then. A user
// who finds nothing more while the other side has used up half of its credit keeps up: the window grows. mu is held.
func (s *stream) consumed(n int64) int64 {
	s.owed += n
	if s.inEnd != nil || s.outEnd != nil && !s.ours {
		return 0
	}
	most := max(mostWindow, min(2*s.shared, maxCredit/2)) // two at once: one is filled while the other is read
	if n > 0 && s.in.empty() && s.given < s.window/2 && s.window < most {
		s.owed += s.window
		s.window *= 2
	}
	if s.owed < s.window/2 {
		return 0
	}
	credit := min(s.owed, maxCredit-max(s.given, 0))
	s.owed -= credit
	s.given += credit
	s.sending++
	return credit
}

// close is Stream.Close.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
	}
	s.stopWith(errClosedHere)
}

// awaitHeader waits for the first frame of the called side.
func (s *stream) awaitHeader() (Metadata, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.gotHeader {
		if s.headed == nil {
			s.headed = make(chan struct{})
		}
		headed := s.headed
		s.mu.Unlock()
		s.p.readOn()
		<-headed
		s.mu.Lock()
	}
	if err, ok := s.inEnd.(*Error); ok && s.header == nil {
		return nil, err
	}
	return s.header, nil
}
