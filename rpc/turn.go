package rpc

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
)

// Who reads. A goroutine that is woken by another costs about as much as the whole way to the other process, so a lone
// call should wake none, at either end:
//
//   - A call that is expected to be quick, with nothing received behind it, runs in the goroutine that reads. Reading must
//     go on all the same when the expectation was wrong, or the handler waits for something that is yet to be read. So
//     the reader puts its turn aside while it runs a handler, and a new reader picks it up: when the watch sees that it
//     takes long, and at once when somebody calls the peer.
//   - A lone caller reads its own answer, and a lone user of a stream what comes for that. When the reader has given out the last
//     thing that was waited for, it lends its turn to the next who waits, and reads again when none has come for a while.
//
// One goroutine has the turn at any time, or it lies aside or is lent; only who has it calls Recv.

type turn struct {
	state    atomic.Uint32 // one of those below, and above them the number of changes: what is the same at two looks was left alone
	wake     chan struct{} // buffered: the reader is to read again
	watching atomic.Bool
	overdue  atomic.Bool // a caller has been reading for long: it is to give the turn back to the reader
	timer    *time.Timer // of lend
}

const (
	reads  = iota // the reader receives
	aside         // the reader runs a handler; anybody may make a new reader
	lent          // the reader waits, and nobody receives; a caller may
	called        // a caller receives

	stateMask = 3
)

const (
	quickTime = 100 * time.Microsecond // a handler that took less may run in the reader the next time
	briskTime = 4 * time.Microsecond   // and one that took less than it costs to run it elsewhere, also while others wait
	tick      = 2 * time.Millisecond   // from one look to the next, at least,
	mostTick  = 32 * time.Millisecond  // and at most: while all goes well, looks are rare, since each costs as much as a call
	idleTicks = 50                     // without a change, until the watch ends

	mostPolled = 64 // messages
)

func (t *turn) init() { t.wake = make(chan struct{}, 1) }

func (t *turn) change(from, to uint32) bool {
	for {
		v := t.state.Load()
		if v&stateMask != from {
			return false
		}
		if t.state.CompareAndSwap(v, v&^stateMask+stateMask+1+to) {
			return true
		}
	}
}

// pickUp makes a new reader if the present one runs a handler.
func (p *Peer) pickUp() {
	if p.turn.change(aside, reads) {
		go p.read()
	}
}

// readOn gives a turn that is lent back to the reader: somebody waits who can't read.
func (p *Peer) readOn() {
	if p.turn.change(lent, reads) {
		p.turn.wake <- struct{}{}
	}
	p.pickUp()
}

// aside serves c with the turn put aside. It says whether this goroutine still is the reader.
func (p *Peer) aside(c *served) bool {
	p.turn.change(reads, aside)
	if !p.turn.watching.Load() && p.turn.watching.CompareAndSwap(false, true) {
		go p.watch()
	}
	c.serve()
	still := p.turn.change(aside, reads)
	if still && cap(c.buf) <= smallValue {
		p.spare = c
	} else {
		serveds.Put(c)
	}
	return still
}

// await waits for a token, and reads meanwhile where nobody else does.
func (p *Peer) await(ready <-chan struct{}) {
	p.pickUp()
	if p.turn.change(lent, called) {
		p.receiveFor(context.Background(), ready, nil)
		return
	}
	<-ready
}

// awaitCall is await that ctx may end: false. Then the token still comes, or was never to be.
func (p *Peer) awaitCall(ctx context.Context, c *call) bool {
	p.pickUp()
	if p.turn.change(lent, called) {
		return p.receiveFor(ctx, c.ready, c)
	}
	if ctx.Done() == nil {
		<-c.ready
		return true
	}
	select {
	case <-c.ready:
		return true
	case <-ctx.Done():
		return false
	}
}

// watch picks the turn up where a handler takes long. It ends when the peer has been idle for a while.
func (p *Peer) watch() {
	t := &p.turn
	timer := time.NewTimer(tick)
	defer timer.Stop()
	pause := tick
	for idle := 0; ; timer.Reset(pause) {
		seen := t.state.Load()
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			p.pickUp() // to see the end
			return
		}
		if t.state.Load() != seen {
			idle = 0
			pause = min(2*pause, mostTick)
			continue
		}
		pause = tick
		p.pickUp()
		if idle++; idle < idleTicks {
			continue
		}
		t.watching.Store(false)
		if t.state.Load()&stateMask != aside || !t.watching.CompareAndSwap(false, true) {
			return
		}
	}
}

// lend is called by the reader when it has given out an answer. Where no other is waited for, a caller may read from now on;
// lend returns when the turn is the reader's again, or, with false, when the connection has ended.
func (p *Peer) lend() bool {
	t := &p.turn
	if p.waiting.Load() > 0 || p.more || !t.change(reads, lent) {
		return true
	}
	if t.timer == nil {
		t.timer = time.NewTimer(tick)
	}
	t.timer.Reset(tick)
	defer t.timer.Stop()
	for pause := tick; ; t.timer.Reset(pause) {
		seen := t.state.Load()
		select {
		case <-t.wake:
			return true
		case <-p.ended:
			return false
		case <-t.timer.C:
		}
		if t.state.Load() != seen {
			if !p.called.Load() || p.in.busy.Load() > 0 { // nothing else comes but what somebody waits for
				pause = min(2*pause, mostTick)
			}
			continue
		}
		t.overdue.Store(true) // before the look: who gives it back looks after that
		took := t.change(lent, reads)
		if !took {
			select {
			case <-t.wake:
			case <-p.ended:
				return false
			}
		}
		t.overdue.Store(false)
		return true
	}
}

// giveBack ends the turn of one who waited: to the reader, where somebody still waits or may have come meanwhile, or wants it back, or it
// stays lent. left: what was waited for has not come.
func (p *Peer) giveBack(left bool) {
	t := &p.turn
	if !left && p.waiting.Load() == 0 && !p.more {
		t.change(called, lent)
		if p.waiting.Load() == 0 && !t.overdue.Load() {
			return
		}
		if !t.change(lent, reads) {
			return // the next one has it
		}
	} else {
		t.change(called, reads)
	}
	t.wake <- struct{}{}
}

// receiveFor reads until the token is there; the turn is the caller's. true: the token is taken. false: ctx has ended. Where it waits for an
// answer, c says whose: that needs no token then.
func (p *Peer) receiveFor(ctx context.Context, ready <-chan struct{}, c *call) bool {
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, p.ch.Interrupt)()
	}
	p.own = c
	for {
		select {
		case <-ready: // also before the first Recv: the reader may have had its turn back for a moment
			p.own = nil
			p.giveBack(false)
			return true
		default:
		}
		_, run, err := p.receive()
		if err != nil {
			if interrupted := errors.Is(err, msg.ErrInterrupted); interrupted && ctx.Err() == nil {
				continue // meant for somebody who has gone, or the token is there
			} else if interrupted {
				p.own = nil
				p.giveBack(true)
				return false
			}
			p.own = nil
			p.end(err)
			<-ready
			return true
		}
		if run != nil {
			go run.start()
		}
		if c != nil && p.own == nil {
			p.giveBack(false)
			return true
		}
	}
}

// poll receives what is here already, where nobody reads: memory that the peer has given back, the last of it still in the processor's caches, and credit that is
// not to be waited for later.
func (p *Peer) poll() {
	if !p.ch.Arrived() || !p.turn.change(lent, called) {
		return
	}
	for i := 0; i < mostPolled && p.ch.Poll(); i++ { // the peer may see to it that there is more always
		_, run, err := p.receive()
		if err != nil && !errors.Is(err, msg.ErrInterrupted) {
			go p.end(err) // which may take its time
			return
		}
		if run != nil {
			go run.start()
		}
	}
	p.giveBack(p.ch.Arrived()) // what is not for here is for the reader
}

// route is a method that is handled, and what is known of the time that it takes.
type route struct {
	name   string
	policy atomic.Pointer[standpipe.Policy] // see Server.Require
	unary  func(c *served) error            // or
	stream func(c *served, s *stream) error //
	in     reflect.Type
	out    reflect.Type

	small, large pace // with values up to smallValue, and above
	tally        tally
}

func (m *route) kind() string {
	if m.stream != nil {
		return "stream"
	}
	return "unary"
}

func (m *route) paceOf(value []byte) *pace {
	if len(value) > smallValue {
		return &m.large
	}
	return &m.small
}

// pace is what is known of the time that a method takes. A large value takes longer to decode alone, and says nothing of small ones.
type pace struct {
	slow  atomic.Int32 // calls that are still to be run in goroutines of their own
	last  atomic.Int32 // what slow was set to last
	brisk atomic.Bool  // it took next to no time the last time
	runs  atomic.Uint64
}

const (
	firstSlow = 2
	mostSlow  = 1 << 10
)

// quick says whether the reader may run the method; behind: though another call waits behind it.
func (m *pace) quick(behind bool) bool {
	return m.slow.Load() <= 0 && (!behind || m.brisk.Load())
}

// timed runs the handler of a unary call, and learns from how long it takes: each time while it is slow, now and then
// otherwise.
func (m *route) timed(c *served) error {
	const seldom = 8
	pace := m.paceOf(c.value)
	run, counts := pace.runs.Add(1), uint64(1)
	if pace.slow.Load() <= 0 {
		if run%seldom != 0 {
			return m.unary(c)
		}
		counts = seldom // for those that were not timed
	}
	start := time.Now()
	err := m.unary(c)
	took := time.Since(start)
	pace.took(took)
	m.tally.times.add(took, counts)
	return err
}

// took learns from a run of the handler. A slow one keeps the method out of the reader for a while; if it is slow again
// when that is over, for twice as long.
func (m *pace) took(d time.Duration) {
	if brisk := d < briskTime; brisk != m.brisk.Load() {
		m.brisk.Store(brisk)
	}
	switch {
	case d > quickTime:
		n := min(2*max(m.last.Load(), firstSlow/2), mostSlow)
		m.last.Store(n)
		m.slow.Store(n)
	case m.slow.Load() > 0:
		m.slow.Add(-1)
	case m.last.Load() != 0:
		m.last.Store(0)
	}
}
