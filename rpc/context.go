package rpc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/msg"
)

// callContext is a handler's context. It is its own kind because most handlers never look at it: then it costs no channel,
// no timer and no entry in a table.
type callContext struct {
	p      *Peer
	stream *stream // a stream's
	meta   []byte  // the caller's metadata, a block
	end    time.Time
	timer  *time.Timer

	mu    sync.Mutex
	err   error
	over  bool          // the handler has returned
	done  chan struct{} // made when it is asked for
	after map[*func()]struct{}

	received []msg.Buffer // to be released when the handler has returned

	reply atomic.Pointer[replyMetadata] // its contents are of mu
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
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = time.Now().Add(d)
	c.timer = time.AfterFunc(d, func() { c.cancel(context.DeadlineExceeded) })
}

// finish: the handler has returned.
func (c *callContext) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.stop(context.Canceled)
}

func (c *callContext) cancel(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.stream != nil {
		go c.stream.stopped(&Error{Code: CodeOf(err), Message: "the call was ended: " + err.Error(), cause: err})
	}
	c.stop(err)
}

// stop: mu is held.
func (c *callContext) stop(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.done != nil {
		close(c.done)
	}
	for f := range c.after {
		go (*f)()
	}
	c.after = nil
}

// Deadline is a method of context.Context, as the next three.
func (c *callContext) Deadline() (time.Time, bool) { return c.end, !c.end.IsZero() }

func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.done != nil:
	case c.err != nil:
		c.done = closed
	default:
		c.done = make(chan struct{})
	}
	return c.done
}

func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = map[*func()]struct{}{}
	}
	c.after[&f] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waits := c.after[&f]
		delete(c.after, &f)
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
