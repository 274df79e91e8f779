package msg

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// bells are what wakes the peer over the connection, once the stream has left it. A bell must not wait for long: who rings has data to
// read, or a context that ends, or closes; and a hostile peer asks for bells that it does not read. So there is a deadline, which is
// moved now and then, since to set one for each bell would cost as much as the bell. A bell that does not leave is owed: it is tried
// again until it does, or until the connection ends.
type bells struct {
	until atomic.Int64 // the deadline of the connection's writes, in nanoseconds since 1970
	full  atomic.Bool  // the last one did not leave
	owed  atomic.Bool  // one is to follow
	again atomic.Bool  // who has the turn is to ring
	turn  sync.Mutex   // who writes to the connection, once the stream has left it
}

const (
	bellTime = 200 * time.Millisecond // for a bell to leave, at most
	fullTime = time.Millisecond       // while the connection is full
	oweTime  = 5 * time.Millisecond   // until it is tried again
)

var bell = appendHeader(nil, header{kind: kindBell})

// Bell wakes the peer. Where somebody writes to the connection it does not wait for that, since nothing ends such a wait (the lock of Go's net.Conn knows no
// deadline): who writes rings then.
func (l *line) Bell() (err error) {
	b := &l.bells
	b.again.Store(true)
	for b.again.Load() && b.turn.TryLock() {
		if b.again.Swap(false) {
			err = l.ring()
		}
		b.turn.Unlock()
	}
	return err
}

func (l *line) ring() error {
	b := &l.bells
	if b.owed.Load() {
		return nil
	}
	now, full := time.Now().UnixNano(), b.full.Load()
	switch {
	case full:
		b.pause(l, now+int64(fullTime))
	case b.until.Load()-now < int64(bellTime/2):
		b.pause(l, now+int64(bellTime))
	}
	_, err := l.c.Write(bell)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		if full {
			b.full.Store(false)
			b.pause(l, time.Now().UnixNano()+int64(bellTime))
		}
		return err
	}
	b.full.Store(true)
	if b.owed.CompareAndSwap(false, true) {
		time.AfterFunc(oweTime, func() {
			b.owed.Store(false) // before: who needs one from now on rings itself
			l.Bell()
		})
	}
	return nil
}

// pause sets the deadline.
func (b *bells) pause(l *line, until int64) {
	b.until.Store(until)
	l.c.SetWriteDeadline(time.Unix(0, until))
}

// bell wakes the peer. Before the stream has left the connection it is a frame of that, or it might come into the middle of another.
func (w *writer) bell() error {
	if w.over.Load() {
		return w.line.Bell()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil || w.closed:
	case w.ring != nil:
		go w.line.Bell()
	case w.turning: // what is pending goes to the ring
		w.owed = true
	default:
		w.pending = append(w.pending, bell...)
		if !w.writing {
			go w.flush()
		}
	}
	return w.err
}
