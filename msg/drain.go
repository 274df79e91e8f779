package msg

import (
	"errors"
	"net"
	"os"
	"slices"
	"time"
)

// Where memory travels by value (byValue), a server has put handles into its client's process, and a Channel that closes leaves none there
// that nobody knows of. The client takes what has come before it closes; the server takes back what its client has not taken when that has
// closed. Never both at once: who closes by an abort reads nothing more, and so does who hears one.

// An ending is what a Channel that closes knows of its peer.
type ending int

const (
	unknown ending = iota
	gone           // it has closed, or is about to, and takes nothing more
	wrong          // it broke the rules; it closes when it hears so
)

const (
	lastTime  = time.Millisecond // for what is on its way when a Channel closes
	lastQuiet = 2                // so many times in a row, since whoever reads may not have had a processor meanwhile
	lastHello = 10 * time.Millisecond
	lastFlow  = 50 * time.Millisecond // of a peer that sends all the time: it hears of the end, and takes back its handles itself
)

// leavesHandles says whether there is anything to do here.
func (ch *Channel) leavesHandles() bool { return byValue && ch.sh.line.h != nil }

// drain sees to the handles, when nothing is sent any more. reading: the caller has the reader's lock.
func (ch *Channel) drain(e ending, reading bool) {
	if !ch.leavesHandles() {
		return
	}
	switch {
	case e == wrong && reading:
		if ch.sh.agreed.Load() && ch.sh.maker.lent() && ch.awaitEnd() {
			e = gone
		}
	case e == unknown && !reading:
		e = ch.drained()
	}
	if ch.sh.agreed.Load() {
		ch.sh.maker.settle(e == gone)
	}
}

// drained reads what has come and was not received, and waits until the peer has what it was sent.
func (ch *Channel) drained() ending {
	if !ch.takeReading() {
		return unknown
	}
	defer ch.r.mu.Unlock()
	ch.r.leaving.Store(true)
	if ch.r.err == nil {
		defer func() { ch.r.err = net.ErrClosed }()
		ch.r.keepLent()
		ch.readRest()
	}
	if err := ch.r.err; err == nil || err == ErrInterrupted || fault(err) != nil || errors.Is(err, net.ErrClosed) {
		return unknown
	}
	return gone
}

// keepLent leaves the reader's buffer to who has received what lies in it, perhaps.
func (r *reader) keepLent() {
	r.buf = slices.Clone(r.buf[r.i:r.j])
	r.i, r.j = 0, len(r.buf)
}

// readRest reads what has come, until nothing has for a while, or an error.
func (ch *Channel) readRest() {
	s := &ch.sh
	if !ch.r.greeted { // a server's handles may come right behind its hello
		peer, ok := ch.r.greet(time.Now().Add(lastTime))
		if !ok {
			return
		}
		ch.hear(peer)
	}
	quiet := 0
	for start := time.Now(); s.agreed.Load(); ch.r.err = nil {
		most := lastFlow
		switch some, owing := ch.lastFrames(), s.maker.owing(); {
		case owing: // the peer takes what was sent out of this process, and it may end after Close
			quiet, most = 0, closeTime
		case some:
			quiet = 0
		default:
			quiet++
		}
		if ch.r.err != ErrInterrupted || quiet == lastQuiet || time.Since(start) > most {
			return
		}
	}
}

// takeReading makes who receives leave, and takes its place. A Greet is not interrupted: behind a hello that does not come there are no handles.
func (ch *Channel) takeReading() bool {
	most, greeted := lastHello, ch.greeted
	for start := time.Now(); !ch.r.mu.TryLock(); time.Sleep(lastTime / 10) {
		select {
		case <-greeted:
			if !ch.sh.agreed.Load() {
				return false
			}
			most, greeted = closeTime, nil
			ch.r.leaving.Store(true)
			ch.interrupt()
		default:
		}
		if time.Since(start) > most {
			return false
		}
	}
	return true
}

// lastFrames reads until nothing has come for a while, and says whether something has. Nobody else reads or waits there.
func (ch *Channel) lastFrames() (some bool) {
	known, part := ch.sh.taker.known(), len(ch.r.part)
	ch.r.resume()
	ch.c.SetReadDeadline(time.Time{}) // beside a ring, too
	defer time.AfterFunc(lastTime, ch.interrupt).Stop()
	for ch.r.err == nil {
		var m Message
		ch.r.message(&m)
		some = some || ch.r.err == nil
		for _, b := range m.Buffers {
			b.Release()
		}
	}
	return some || known != ch.sh.taker.known() || part != len(ch.r.part)
}

// awaitEnd waits until the peer has closed, and says whether it has; after closeTime this side does. What comes until then is not looked at:
// the peer may take back what it has handed over.
func (ch *Channel) awaitEnd() bool {
	defer time.AfterFunc(closeTime, func() { ch.c.Close() }).Stop()
	for b := make([]byte, leastRead); ; {
		switch _, err := ch.c.Read(b); {
		case errors.Is(err, os.ErrDeadlineExceeded): // of an Interrupt
			ch.c.SetReadDeadline(time.Time{})
		case err != nil:
			return !errors.Is(err, net.ErrClosed)
		}
	}
}
