package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// tap sees what passes through a pair. Its methods are called by both ways at once.
type tap interface {
	passes(toServer bool, b []byte)        // before it is sent on; b is lent
	files(toServer bool, files []*os.File) // after they were; they belong to the tap now
	ends(toServer bool, how string)
}

// pair is two sides that are connected with each other: a client's, and the server's for it.
type pair struct {
	a, b   *side
	tap    tap // may be nil
	linger time.Duration
	hide   bool // the offers to share memory
	there  flow
	back   flow
}

// flow is one of a pair's two directions.
type flow struct {
	toServer bool
	from, to *side
	linger   time.Duration
	hider    hider
	hidden   bool          // an offer was hidden
	bytes    atomic.Int64  // that were sent on
	moved    atomic.Int64  // when something last was, in Unix nanoseconds
	lost     int           // files that could not be sent on
	failed   chan struct{} // closed: nothing can be sent on, and what comes is thrown away
	told     bool          // the end, to who can hear it
	broken   bool          // the other way can't go on, either
	err      error
}

// run moves bytes both ways until both have ended, or ctx; then it closes both sides.
//
// The end of one way is told to who reads it. Where that can't be told, or heard, or what ended was a whole program, the other
// way is given up when it has been silent for linger.
func (p *pair) run(ctx context.Context) error {
	p.there.toServer, p.there.from, p.there.to = true, p.a, p.b
	p.back.from, p.back.to = p.b, p.a
	p.there.linger, p.back.linger = p.linger, p.linger
	stop := context.AfterFunc(ctx, p.close)
	defer stop()
	done := make(chan *flow, 2)
	for _, f := range []*flow{&p.there, &p.back} {
		f.failed = make(chan struct{})
		f.moved.Store(time.Now().UnixNano())
		go func() {
			f.run(p.tap, p.hide)
			done <- f
		}()
	}
	var first *flow
	select {
	case first = <-done:
	case <-ctx.Done():
		if first = closing(done); first == nil {
			return context.Cause(ctx)
		}
	}
	other := &p.there
	if first == other {
		other = &p.back
	}
	ended := p.await(ctx, first, other, done)
	p.close()
	if !ended && closing(done) == nil {
		other = first // nothing can be said of it
	}
	return p.verdict(ctx, first, other)
}

// closing waits for a flow whose ends are closed. A write to a terminal that was stopped may go on all the same: nothing can end it.
func closing(done <-chan *flow) *flow {
	select {
	case f := <-done:
		return f
	case <-time.After(commandGrace):
		return nil
	}
}

// await waits for the end of other, where it may be waited for, and says whether it has ended.
func (p *pair) await(ctx context.Context, first, other *flow, done <-chan *flow) bool {
	switch {
	case first.broken:
		return false
	case first.told:
		select {
		case <-done:
			return true
		case <-ctx.Done():
			return false
		case <-other.failed:
		}
	}
	for began := time.Now(); ; {
		last := time.Unix(0, other.moved.Load())
		if last.Before(began) {
			last = began
		}
		wait := time.Until(last.Add(p.linger))
		if wait <= 0 {
			return false
		}
		select {
		case <-done:
			return true
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
}

// verdict is the error of the way that has failed first, if any. What ended because the pair was closed has not failed.
func (p *pair) verdict(ctx context.Context, first, second *flow) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, f := range []*flow{first, second} {
		if f.err != nil && !errors.Is(f.err, net.ErrClosed) && !errors.Is(f.err, os.ErrClosed) {
			return f.err
		}
	}
	return nil
}

func (p *pair) close() {
	p.a.Close()
	p.b.Close()
}

// run moves bytes until the end, and tells it.
func (f *flow) run(t tap, hide bool) {
	err := f.move(t, hide)
	how := ""
	switch {
	case f.err != nil:
		how = f.err.Error()
	case err == io.EOF:
		unsaid := f.to.CloseWrite()
		f.told = unsaid == nil && !f.from.whole && !f.to.deaf
		// Nobody is left who could send anything, or want to hear it.
		f.broken = f.from.whole && (f.to.whole || f.to.deaf && f.from.exited(f.linger))
		if errors.Is(unsaid, errors.ErrUnsupported) {
			how = "which can't be told there"
		}
	case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrClosed):
		f.err, how = err, "cut off here"
	default:
		f.err, how = err, err.Error()
	}
	if t != nil {
		t.ends(f.toServer, how)
	}
}

// relayChunk is how much is moved at once, at most.
const relayChunk = 64 << 10

func (f *flow) move(t tap, hide bool) error {
	buf := make([]byte, relayChunk)
	for {
		n, files, err := f.read(buf)
		if n > 0 {
			f.sendOn(t, hide, buf[:n], files)
		}
		if f.err != nil && !f.from.network() {
			return f.err
		}
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		if err != nil {
			f.broken = true
			return fmt.Errorf("from %s: %w", f.from.place.text, err)
		}
	}
}

// sendOn writes what came. When that has failed, what TCP has still is read, and thrown away: if it were closed with unread bytes, what the other
// way has for the sender would be lost.
func (f *flow) sendOn(t tap, hide bool, b []byte, files []*os.File) {
	if f.err != nil {
		closeAll(files)
		return
	}
	if t != nil {
		t.passes(f.toServer, b)
	}
	if hide && f.hider.hide(b) {
		f.hidden = true
	}
	if err := f.write(t, b, files); err != nil {
		f.err = fmt.Errorf("to %s: %w", f.to.place.text, err)
		close(f.failed)
		return
	}
	f.bytes.Add(int64(len(b)))
	f.moved.Store(time.Now().UnixNano())
}

// read is Read, with the files that came, where they travel.
func (f *flow) read(b []byte) (int, []*os.File, error) {
	if handlesTravel && f.from.local != nil {
		return f.from.local.ReadHandles(b)
	}
	n, err := f.from.Read(b)
	return n, nil, err
}

// write is Write, with the files that came with b; where they can't go on, they are lost.
func (f *flow) write(t tap, b []byte, files []*os.File) (err error) {
	switch {
	case len(files) == 0:
		_, err = f.to.Write(b)
		return err
	case f.to.local != nil:
		_, err = f.to.local.WriteHandles(b, files...)
	default:
		f.lost += len(files)
		_, err = f.to.Write(b)
	}
	if t != nil {
		t.files(f.toServer, files)
		return err
	}
	closeAll(files)
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
