package rpc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/msg"
)

// callContext is a handler's context. It is its own kind because most handlers never look at it: then it costs no channel,
// no timer, no entry in a table, and three words of garbage.
type callContext struct {
	p    *Peer
	more atomic.Pointer[callState] // made when it is needed
	over atomic.Bool               // the handler has returned
}

// callState is what few callContexts need.
type callState struct {
	stream *stream // a stream's
	meta   []byte  // the caller's metadata, a block
	end    time.Time
	timer  *time.Timer

	mu    sync.Mutex
	err   error
	done  chan struct{} // made when it is asked for
	after map[*func()]struct{}

	received []msg.Buffer // to be released when the handler has returned
	reply    *replyMetadata
}

// state makes the state where there is none.
func (c *callContext) state() *callState {
	if m := c.more.Load(); m != nil {
		return m
	}
	c.more.CompareAndSwap(nil, &callState{})
	m := c.more.Load()
	if c.over.Load() { // finish may have missed it
		m.stop(context.Canceled)
	}
	return m
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// contexts makes callContexts: several with one allocation, where many are needed.
type contexts struct {
	free []callContext
	size int
}

func (cs *contexts) make() *callContext {
	if len(cs.free) == 0 {
		cs.size = min(2*cs.size+1, 16)
		cs.free = make([]callContext, cs.size)
	}
	c := &cs.free[0]
	cs.free = cs.free[1:]
	return c
}

// limit ends c when the time is up.
func (c *callContext) limit(d time.Duration) {
	m := c.state()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end = time.Now().Add(d)
	m.timer = time.AfterFunc(d, func() { c.cancel(context.DeadlineExceeded) })
}

// finish: the handler has returned.
func (c *callContext) finish() {
	c.over.Store(true)
	if m := c.more.Load(); m != nil {
		m.stop(context.Canceled)
	}
}

func (c *callContext) cancel(err error) {
	m := c.state()
	if m.stop(err) && m.stream != nil {
		go m.stream.stopped(&Error{Code: CodeOf(err), Message: "the call was ended: " + err.Error(), cause: err})
	}
}

// stop ends the context; true: it had not ended.
func (m *callState) stop(err error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return false
	}
	m.err = err
	if m.timer != nil {
		m.timer.Stop()
	}
	if m.done != nil {
		close(m.done)
	}
	for f := range m.after {
		go (*f)()
	}
	m.after = nil
	return true
}

// Deadline is a method of context.Context, as the next three.
func (c *callContext) Deadline() (time.Time, bool) {
	m := c.more.Load()
	if m == nil {
		return time.Time{}, false
	}
	return m.end, !m.end.IsZero()
}

func (c *callContext) Done() <-chan struct{} {
	if c.more.Load() == nil && c.over.Load() {
		return closed
	}
	m := c.state()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.done != nil:
	case m.err != nil:
		m.done = closed
	default:
		m.done = make(chan struct{})
	}
	return m.done
}

func (c *callContext) Err() error {
	if m := c.more.Load(); m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.err
	}
	if c.over.Load() {
		return context.Canceled
	}
	return nil
}

type callKey struct{}

func (c *callContext) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return nil
}

// AfterFunc is what package context looks for in a parent that is not its own, to spare a goroutine for each child.
func (c *callContext) AfterFunc(f func()) (stop func() bool) {
	m := c.state()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		go f()
		return func() bool { return false }
	}
	if m.after == nil {
		m.after = map[*func()]struct{}{}
	}
	m.after[&f] = struct{}{}
	return func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		_, waits := m.after[&f]
		delete(m.after, &f)
		return waits
	}
}

// callFrom is the handler's context that ctx was made from, or nil.
func callFrom(ctx context.Context) *callContext {
	c, _ := ctx.Value(callKey{}).(*callContext)
	return c
}

// PeerFrom, in a handler, is who calls: Identity tells the user, and Call and Open call back. It is nil for a context that is
// not from a handler.
func PeerFrom(ctx context.Context) *Peer {
	if c := callFrom(ctx); c != nil {
		return c.p
	}
	return nil
}
