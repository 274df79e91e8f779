package rpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/standpipe/standpipe/msg"
)

// outgoing is the calls of this side. Their numbers are places in a table, used again when the answer is here.
type outgoing struct {
	p       *Peer
	mu      sync.Mutex
	first   uint32 // the lowest number: 1 for the dialer, else 2
	slots   []*call
	unused  []uint32 // places in slots
	open    int      // calls that have no answer yet
	limit   int      // of open
	window  int64    // the credit of a new stream
	waiters []chan struct{}
	err     *Error // no further calls: the other side drains, or the connection has ended
}

// call is one call of this side.
type call struct {
	ready  chan struct{} // one token: the call is answered, but by its caller itself (Peer.own), or the connection has ended
	number uint32
	stream *stream // a stream's; the rest is a unary call's

	values          idle   // of the last call in this memory
	buf             []byte // memory for the open frame
	head            head   // what buf begins with
	wantMeta        bool
	header, trailer Metadata
	small           []byte       // memory for a small answer
	data            []byte       // the memory of another one
	value           []byte       // the answer, with
	beside          []msg.Buffer // , or
	fail            *Error       // an answer that is an error, or
	err             *Error       // the end of the connection
	mark            int64        // see Peer.quick

	// Of outgoing.mu: the caller does not wait any more, and a cancel is to be sent. The number is not free until that
	// has happened and the answer has come, or the cancel would hit the number's next call.
	gone      bool
	cancelled bool
	answered  bool
}

var calls = sync.Pool{New: func() any { return &call{ready: make(chan struct{}, 1)} }}

func (o *outgoing) init(p *Peer, dialer bool) {
	o.p, o.first, o.limit, o.window = p, 2, leastCalls, leastWindow
	if dialer {
		o.first = 1
	}
}

// allow sets how many calls may be open, and what streams begin with.
func (o *outgoing) allow(calls int, window int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.limit, o.window = calls, window
	o.wake()
}

// refuse lets no further calls begin.
func (o *outgoing) refuse(err *Error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stop(err)
}

// stop: mu is held.
func (o *outgoing) stop(err *Error) {
	o.err = err
	for _, w := range o.waiters {
		close(w)
	}
	o.waiters = nil
}

// wake lets waiters in, as far as there is room. mu is held.
func (o *outgoing) wake() {
	for n := o.limit - o.open; n > 0 && len(o.waiters) > 0; n-- {
		close(o.waiters[0])
		o.waiters = o.waiters[1:]
	}
}

// begin finds a number for c, of which n bytes are to be sent; a stream gets its stream. Where the other side runs as many
// calls as it wants to, it waits. Where it fails, c is the caller's still.
func (o *outgoing) begin(ctx context.Context, c *call, n int, stream bool) (quick bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.err == nil && o.open >= o.limit {
		turn := make(chan struct{})
		o.waiters = append(o.waiters, turn)
		o.mu.Unlock()
		o.p.readOn()
		select {
		case <-turn:
			o.mu.Lock()
		case <-ctx.Done():
			o.mu.Lock()
			o.leave(turn)
			return false, contextError(ctx)
		}
	}
	if o.err != nil {
		return false, o.err
	}
	place := uint32(len(o.slots))
	if n := len(o.unused); n > 0 {
		place, o.unused = o.unused[n-1], o.unused[:n-1]
		o.slots[place] = c
	} else {
		o.slots = append(o.slots, c)
	}
	o.open++
	c.number = o.first + 2*place // a hostile peer may answer before it was asked
	if stream {
		c.stream = newStream(o.p, c.number, true, o.window)
		c.stream.sending = 1 // the open frame
	} else {
		o.p.waiting.Add(1)
	}
	c.mark, quick = o.p.quick(n)
	return quick, nil
}

// leave takes a waiter out; where its turn had come, the next one has it.
func (o *outgoing) leave(turn chan struct{}) {
	for i, w := range o.waiters {
		if w == turn {
			o.waiters = append(o.waiters[:i], o.waiters[i+1:]...)
			return
		}
	}
	o.wake()
}

// at is the call with this number, or nil. mu is held.
func (o *outgoing) at(number uint32) *call {
	if place := (number - o.first) / 2; uint64(place) < uint64(len(o.slots)) {
		return o.slots[place]
	}
	return nil
}

// remove frees the number of c. mu is held.
func (o *outgoing) remove(c *call) {
	place := (c.number - o.first) / 2
	o.slots[place] = nil
	o.unused = append(o.unused, place)
	o.open--
	o.wake()
}

// free ends a stream's number.
func (o *outgoing) free(number uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.at(number); c != nil {
		o.remove(c)
		c.recycle()
	}
}

// streamAt is the stream that the called side has sent data or credit for; nil for a unary call.
func (o *outgoing) streamAt(f *frame) (*stream, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.at(f.stream)
	switch {
	case c == nil && f.typ == typeCredit:
		return nil, nil // it crossed the last frame of the call
	case c == nil:
		return nil, fmt.Errorf("stream %d got data and is not open", f.stream)
	case c.stream == nil && f.typ == typeData:
		return nil, fmt.Errorf("stream %d got data and is a unary call", f.stream)
	}
	return c.stream, nil
}

// answer takes the close frame of the called side.
func (o *outgoing) answer(f *frame, m packet) (err error) {
	var fail *Error
	if f.code != OK {
		if fail, err = parseError(f.code, f.value); err != nil {
			return err
		}
	}
	o.mu.Lock()
	c := o.at(f.stream)
	if c == nil || c.answered {
		o.mu.Unlock()
		return fmt.Errorf("stream %d was answered and is not open", f.stream)
	}
	if f.code == OK && f.has(flagValue) != (c.stream == nil) {
		o.mu.Unlock()
		return fmt.Errorf("stream %d was answered as the other kind of call", f.stream)
	}
	c.answered = true
	o.p.heard(c.mark)
	if s := c.stream; s != nil {
		o.mu.Unlock()
		s.answered(f, fail)
		return nil
	}
	if c.gone {
		o.settle(c)
		o.mu.Unlock()
		return nil
	}
	o.remove(c)
	o.mu.Unlock() // c is its caller's from now on, and its caller waits for the token
	if c.wantMeta {
		c.header, c.trailer = parseMetadata(f.header), parseMetadata(f.meta)
	}
	c.fail = fail
	if fail == nil {
		c.keep(f.value, m)
		c.beside = o.p.takeBuffers()
	}
	if o.p.waiting.Add(-1) > 0 {
		o.p.woke = true
	}
	if o.p.own == c {
		o.p.own = nil
	} else {
		c.ready <- struct{}{}
	}
	return nil
}

// keep keeps the answer, in its own memory where that is large.
func (c *call) keep(value []byte, m packet) {
	if len(value) <= smallValue {
		c.small = append(c.small[:0], value...)
		c.value = c.small
		return
	}
	c.data = m.keep(value)
	c.value = c.data[len(c.data)-len(value):]
}

// settle frees the number of a call that its caller has left, if that can be. mu is held.
func (o *outgoing) settle(c *call) {
	if c.cancelled && c.answered {
		o.remove(c)
		c.recycle()
	}
}

// end fails all calls.
func (o *outgoing) end(err *Error) {
	o.mu.Lock()
	o.stop(err)
	var streams []*stream
	for _, c := range o.slots {
		switch {
		case c == nil:
		case c.stream != nil:
			streams = append(streams, c.stream)
		case !c.gone:
			c.err = err
			o.p.waiting.Add(-1)
			c.ready <- struct{}{} // it may be recycled from now on
		}
	}
	o.slots = nil
	o.mu.Unlock()
	for _, s := range streams {
		s.lost(err)
	}
}

// abandon marks a call whose caller does not wait any more; a cancel must be sent then. false: the token is there.
func (o *outgoing) abandon(c *call) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.at(c.number) != c || c.answered {
		return false
	}
	c.gone = true
	o.p.waiting.Add(-1)
	return true
}

// recycle gives c back to the pool, unless it is nil; its token must have been taken, or never been there.
func (c *call) recycle() {
	if c == nil {
		return
	}
	msg.Free(c.data)
	releaseAll(c.beside)
	if cap(c.buf) > mostKept {
		c.buf, c.head = nil, head{}
	}
	if c.wantMeta {
		c.wantMeta, c.header, c.trailer = false, nil, nil
	}
	c.stream, c.data, c.value, c.beside, c.fail, c.err = nil, nil, nil, nil, nil, nil
	c.gone, c.cancelled, c.answered = false, false, false
	calls.Put(c)
}

// head is the usual beginning of an open frame: no time limit, no metadata, and the connection's codec. Who calls the same method again finds
// it in the call's memory.
type head struct {
	method string // "": there is none
	size   int
}

// The flow of a unary call, on both sides:
//
//	Peer.Call (peer.go): encode                   read (peer.go)
//	  do: begin, SendData ── open frame ──────────> open (serve.go): aside (turn.go), or a goroutine
//	      await                                       serve: decode, the handler, encode
//	        <── answer <── read <── close frame ────  reply
//	    decode

// do makes the unary call c. b is the whole open frame, in c's memory, but for its number and for the rest of the value, which is tail, and
// may be used again when do returns. What it returns is c, with the answer, or nil where c is still waited for.
func (p *Peer) do(ctx context.Context, c *call, b, tail []byte, beside []msg.Buffer) (*call, error) {
	n := len(b) + len(tail)
	err := p.fits(ctx, n, beside)
	quick := false
	if err == nil {
		quick, err = p.out.begin(ctx, c, n, false)
	}
	if err != nil {
		return c, err
	}
	binary.LittleEndian.PutUint32(b, c.number)
	switch { // errors end the connection, which ends the call
	case len(beside) > 0:
		if err := unsendable(ctx, p.ch.SendBuffers(ctx, beside, b, tail)); err != nil {
			p.out.unsent(c)
			return c, err
		}
	default:
		p.send(ctx, quick, b, tail)
	}
	if !p.awaitCall(ctx, c) {
		if p.out.abandon(c) {
			c.buf, c.head = nil, head{} // the answer may never come
			go p.sendCancel(c, CodeOf(ctx.Err()))
			return nil, contextError(ctx)
		}
		<-c.ready // the answer came at the same time: it counts
	}
	if c.err != nil {
		return c, c.err
	}
	return c, nil
}

// unsent frees the number of a call that was not sent.
func (o *outgoing) unsent(c *call) {
	if !o.p.out.abandon(c) {
		<-c.ready // the connection has ended
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.at(c.number) == c {
		o.remove(c)
	}
}

// fits waits, for a frame that is longer than what every side takes, or has Buffers, until the other side's hello says what this one takes.
func (p *Peer) fits(ctx context.Context, n int, beside []msg.Buffer) error {
	if n <= leastMessage && len(beside) == 0 {
		return nil
	}
	select {
	case <-p.greeted:
	default:
		select {
		case <-p.greeted:
		case <-p.ended:
			return p.unavailable()
		case <-ctx.Done():
			return contextError(ctx)
		}
	}
	if max := p.ch.MaxMessage(); n > max {
		return &Error{Code: ResourceExhausted, Message: fmt.Sprintf("a frame of %d bytes is above the limit of %d", n, max), cause: msg.ErrTooLarge}
	}
	return nil
}

// sendCancel tells the other side that the caller of c has left.
func (p *Peer) sendCancel(c *call, code Code) {
	p.ch.SendData(context.Background(), appendCancel(nil, c.number, code))
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	c.cancelled = true
	if p.out.at(c.number) == c {
		p.out.settle(c)
	}
}

// contextError is how a call ends that its context has ended.
func contextError(ctx context.Context) *Error {
	err := ctx.Err()
	return &Error{Code: CodeOf(err), Message: "the call's context ended: " + context.Cause(ctx).Error(), cause: context.Cause(ctx)}
}

// timeLeft is what the deadline of ctx leaves, in nanoseconds, for the open frame; 0: there is none.
func timeLeft(ctx context.Context) uint64 {
	if t, ok := ctx.Deadline(); ok {
		return uint64(max(time.Until(t), 1))
	}
	return 0
}
