package rpc

import (
	"sync/atomic"
	"time"
)

// Who reads. A call that is expected to be quick, with nothing received behind it, runs in the goroutine that reads: a
// goroutine of its own costs as much as half of the whole way there and back. Reading must go on all the same when the
// expectation was wrong, or the handler waits for something that is yet to be read. So the reader puts its turn down
// while it runs a handler, and another goroutine picks it up: by a timer, and at once when somebody calls the peer.

// turn is who reads.
type turn struct {
	down  atomic.Bool // the reader runs a handler, and the turn may be picked up
	timer *time.Timer // picks it up
}

const (
	quickTime = 20 * time.Microsecond  // a handler that took less may run in the reader the next time
	slowTime  = 100 * time.Microsecond // the reader is waited for no longer than that
)

func (p *Peer) initTurn() {
	p.turn.timer = time.AfterFunc(time.Hour, p.pickUp)
	p.turn.timer.Stop()
}

// pickUp makes a new reader if the present one runs a handler.
func (p *Peer) pickUp() {
	if p.turn.down.Load() && p.turn.down.CompareAndSwap(true, false) {
		go p.read()
	}
}

// aside runs f with the turn put down. It says whether this goroutine still is the reader.
func (p *Peer) aside(f func()) bool {
	p.turn.down.Store(true)
	p.turn.timer.Reset(slowTime)
	f()
	if !p.turn.down.CompareAndSwap(true, false) {
		return false
	}
	p.turn.timer.Stop() // if it runs already, it finds the turn taken, or makes a reader early: no harm
	return true
}

// method is a handler, and what is known of the time that it takes.
type method struct {
	h    handler
	slow atomic.Int32 // calls that are still to be run in goroutines of their own
	last atomic.Int32 // what slow was set to last
}

const (
	firstSlow = 2
	mostSlow  = 1 << 10
)

func (m *method) quick() bool { return m != nil && m.slow.Load() <= 0 }

// took learns from a run of the handler. A slow one keeps the method out of the reader for a while; if it is slow again
// when that is over, for twice as long.
func (m *method) took(d time.Duration) {
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
