package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/standpipe/standpipe/msg"
)

// outgoing is the calls of this side. Their numbers are places in a table, used again when the answer is here.
type outgoing struct {
	mu      sync.Mutex
	first   uint32 // the lowest number: 1 for the dialer, else 2
	slots   []*call
	free    []uint32 // places in slots
	open    int      // calls that have no answer yet
	limit   int      // of open
	waiters []chan struct{}
	err     *Error // the connection has ended
}

// call is one call of this side.
type call struct {
	done   chan struct{} // one token: the call is answered, or the connection has ended
	stream uint32
	m      *msg.Message // the answer, or
	f      frame        //
	fail   *Error       // an answer that is an error, or
	err    *Error       // the end of the connection
	mark   int64        // see Peer.quick; 0: not sent yet

	// Of outgoing.mu: the caller does not wait any more, and a cancel is to be sent. The number is not free until that
	// has happened and the answer has come, or the cancel would hit the number's next call.
	gone      bool
	cancelled bool
	answered  bool
}

var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

func (o *outgoing) init(dialer bool) {
	o.first, o.limit = 2, leastCalls
	if dialer {
		o.first = 1
	}
}

// waiting says whether a call has no answer yet.
func (o *outgoing) waiting() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open > 0
}

// allow sets how many calls may be open.
func (o *outgoing) allow(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.limit = n
	o.wake()
}

// wake lets waiters in, as far as there is room. mu is held.
func (o *outgoing) wake() {
	for n := o.limit - o.open; n > 0 && len(o.waiters) > 0; n-- {
		close(o.waiters[0])
		o.waiters = o.waiters[1:]
	}
}

// begin finds a number for a call. Where the other side runs as many calls as it wants to, it waits.
func (o *outgoing) begin(ctx context.Context) (*call, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.err == nil && o.open >= o.limit {
		turn := make(chan struct{})
		o.waiters = append(o.waiters, turn)
		o.mu.Unlock()
		select {
		case <-turn:
			o.mu.Lock()
		case <-ctx.Done():
			o.mu.Lock()
			o.leave(turn)
			return nil, contextError(ctx)
		}
	}
	if o.err != nil {
		return nil, o.err
	}
	c := calls.Get().(*call)
	place := uint32(len(o.slots))
	if n := len(o.free); n > 0 {
		place, o.free = o.free[n-1], o.free[:n-1]
		o.slots[place] = c
	} else {
		o.slots = append(o.slots, c)
	}
	o.open++
	c.stream = o.first + 2*place
	return c, nil
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
func (o *outgoing) at(stream uint32) *call {
	if place := (stream - o.first) / 2; uint64(place) < uint64(len(o.slots)) {
		return o.slots[place]
	}
	return nil
}

// remove frees the number of c. mu is held.
func (o *outgoing) remove(c *call) {
	place := (c.stream - o.first) / 2
	o.slots[place] = nil
	o.free = append(o.free, place)
	o.open--
	o.wake()
}

// answer gives the answer to the caller who waits. kept: the message is the caller's now.
func (o *outgoing) answer(f frame, m *msg.Message, heard func(mark int64)) (kept bool, err error) {
	var fail *Error
	if f.code != OK {
		if fail, err = parseError(f.code, f.value); err != nil {
			return false, err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.at(f.stream)
	if c == nil || c.answered {
		return false, fmt.Errorf("stream %d was answered and is not open", f.stream)
	}
	c.answered = true
	heard(c.mark)
	if c.gone {
		o.settle(c)
		return false, nil
	}
	o.remove(c)
	c.f, c.m, c.fail = f, m, fail
	c.done <- struct{}{}
	return true, nil
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
	defer o.mu.Unlock()
	o.err = err
	for _, c := range o.slots {
		if c != nil && !c.gone {
			c.err = err
			c.done <- struct{}{}
		}
	}
	o.slots = nil
	for _, w := range o.waiters {
		close(w)
	}
	o.waiters = nil
}

// withdraw takes back a call that was not sent.
func (o *outgoing) withdraw(c *call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.at(c.stream) == c {
		o.remove(c)
		c.recycle()
	}
}

// abandon marks a call whose caller does not wait any more; a cancel must be sent then. false: the token is there.
func (o *outgoing) abandon(c *call) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.at(c.stream) != c {
		return false
	}
	c.gone = true
	return true
}

// recycle gives c back to the pool; its token must have been taken, or never been there.
func (c *call) recycle() {
	*c = call{done: c.done}
	calls.Put(c)
}

// The flow of a call, on both sides:
//
//	Call (typed.go): encode                       read (peer.go)
//	  do: begin, transmit ── open frame ──────────> open (serve.go): aside (turn.go), or a goroutine
//	      wait                                        serve: decode, the handler, encode
//	        <── answer <── read <── close frame ────  reply
//	    decode

// do makes a call. b is the whole open frame, but for its number; it may be used again when do returns. The answer's value
// is in the message, to be given back by putMessage.
func (p *Peer) do(ctx context.Context, b []byte) (*msg.Message, []byte, error) {
	if len(b) > leastMessage { // the other side may not take as much: its hello says
		select {
		case <-p.greeted:
		case <-p.ended:
			return nil, nil, p.unavailable()
		case <-ctx.Done():
			return nil, nil, contextError(ctx)
		}
	}
	if max := p.ch.MaxMessage(); len(b) > max {
		return nil, nil, &Error{Code: ResourceExhausted, Message: fmt.Sprintf("the call has %d bytes, the limit is %d", len(b), max), cause: msg.ErrTooLarge}
	}
	c, err := p.out.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	p.pickUp() // a handler that calls back waits for what is to be read
	binary.LittleEndian.PutUint32(b, c.stream)
	if err := p.transmit(ctx, c, b); err != nil {
		return nil, nil, err
	}
	if p.turn.change(lent, called) {
		if !p.receiveFor(ctx, c) {
			return p.leave(ctx, c)
		}
	} else {
		select {
		case <-c.done:
		case <-ctx.Done():
			return p.leave(ctx, c)
		}
	}
	return p.result(c)
}

// leave ends a call whose context has ended.
func (p *Peer) leave(ctx context.Context, c *call) (*msg.Message, []byte, error) {
	if !p.out.abandon(c) {
		<-c.done // the answer came at the same time: it counts
		return p.result(c)
	}
	go p.sendCancel(c, CodeOf(ctx.Err()))
	return nil, nil, contextError(ctx)
}

// result is what came of a call whose token was taken.
func (p *Peer) result(c *call) (*msg.Message, []byte, error) {
	m, value, fail, ended := c.m, c.f.value, c.fail, c.err
	c.recycle()
	switch {
	case ended != nil:
		return nil, nil, ended
	case fail != nil:
		putMessage(m)
		return nil, nil, fail
	}
	return m, value, nil
}

// transmit sends the open frame. Where the other side may not be reading, that happens in a goroutine, so that the context
// can end the wait; b is copied then.
func (p *Peer) transmit(ctx context.Context, c *call, b []byte) error {
	mark, quick := p.quick(len(b))
	p.out.mu.Lock()
	c.mark = mark
	p.out.mu.Unlock()
	if ctx.Done() == nil || quick {
		return p.sent(c, p.ch.Send(msg.Message{Data: b}))
	}
	b = append([]byte(nil), b...)
	result := make(chan error, 1)
	go func() { result <- p.ch.Send(msg.Message{Data: b}) }()
	select {
	case err := <-result:
		return p.sent(c, err)
	case <-ctx.Done():
		if !p.out.abandon(c) {
			return nil // the end of the connection, or even the answer
		}
		go func() {
			if p.sent(c, <-result) == nil {
				p.sendCancel(c, CodeOf(ctx.Err()))
			}
		}()
		return contextError(ctx)
	}
}

// sent looks at the error of sending c's open frame. Most end the connection, which ends the call.
func (p *Peer) sent(c *call, err error) error {
	if !errors.Is(err, msg.ErrTooLarge) {
		return nil
	}
	p.out.withdraw(c) // cannot be, the limit was looked at; but a call must not hang
	return &Error{Code: ResourceExhausted, Message: err.Error(), cause: err}
}

// sendCancel tells the other side that the caller of c has left.
func (p *Peer) sendCancel(c *call, code Code) {
	p.ch.Send(msg.Message{Data: appendClose(nil, c.stream, code)})
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	c.cancelled = true
	if p.out.at(c.stream) == c {
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
