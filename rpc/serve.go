package rpc

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/standpipe/standpipe/msg"
)

// incoming is the calls of the other side.
type incoming struct {
	names []string // the other side's codecs

	mu       sync.Mutex
	calls    map[uint32]context.CancelFunc
	busy     int // goroutines, from open to the end of the reply
	draining chan struct{}
	idle     bool // draining is closed
}

func (in *incoming) init() { in.calls = map[uint32]context.CancelFunc{} }

// cancel ends the context of a call, if there still is one.
func (in *incoming) cancel(stream uint32) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if cancel := in.calls[stream]; cancel != nil {
		cancel()
	}
}

// end takes a call out of the table; from then on the other side may use its number again.
func (in *incoming) end(stream uint32) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if cancel := in.calls[stream]; cancel != nil {
		cancel()
	}
	delete(in.calls, stream)
}

// left counts a goroutine out.
func (in *incoming) left() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.busy--
	in.settle()
}

// settle closes draining when nothing runs any more. mu is held.
func (in *incoming) settle() {
	if in.draining != nil && in.busy == 0 && !in.idle {
		in.idle = true
		close(in.draining)
	}
}

// drain refuses calls from now on. What it returns is closed when those that run have been answered.
func (p *Peer) drain() <-chan struct{} {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	if p.in.draining == nil {
		p.in.draining = make(chan struct{})
	}
	p.in.settle()
	return p.in.draining
}

// open takes a call of the other side, whose message is its now. It runs in a goroutine of its own, or is returned, to be
// run by the reader.
func (p *Peer) open(f frame, m *msg.Message) (run func(), err error) {
	in := &p.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, ok := in.calls[f.stream]; ok {
		return nil, fmt.Errorf("stream %d was opened and is open", f.stream)
	}
	if in.busy >= 2*p.o.maxCalls {
		return nil, fmt.Errorf("%d calls at once, where %d were allowed", in.busy, p.o.maxCalls)
	}
	var refused *Error
	switch {
	case in.draining != nil:
		refused = Errorf(Unavailable, "the other side is about to end")
	case len(in.calls) >= p.o.maxCalls:
		refused = Errorf(ResourceExhausted, "more than %d calls at once", p.o.maxCalls)
	}
	in.busy++
	if refused != nil {
		putMessage(m)
		p.running.Go(func() {
			defer in.left()
			p.reply(appendError(nil, f.stream, refused, p.ch.MaxMessage()))
		})
		return nil, nil
	}
	ctx, cancel := p.callContext(f)
	in.calls[f.stream] = cancel
	how := p.o.server.lookup(f.method)
	run = func() {
		defer p.running.Done()
		defer in.left()
		p.serve(ctx, how, f, m)
	}
	p.running.Add(1)
	if how.quick() && !p.ch.Buffered() {
		return run, nil
	}
	go run()
	return nil, nil
}

func (p *Peer) callContext(f frame) (context.Context, context.CancelFunc) {
	const longest = uint64(100 * 365 * 24 * time.Hour)
	if f.timeout == 0 || f.timeout > longest {
		return context.WithCancel(p.ctx)
	}
	return context.WithTimeout(p.ctx, time.Duration(f.timeout))
}

var frames = sync.Pool{New: func() any { return new([]byte) }}

// putFrame gives a frame's memory back, unless it grew large.
func putFrame(buf *[]byte, b []byte) {
	if cap(b) <= mostKept {
		*buf = b[:0]
		frames.Put(buf)
	}
}

// serve runs a call, and replies.
func (p *Peer) serve(ctx context.Context, how *method, f frame, m *msg.Message) {
	buf := frames.Get().(*[]byte)
	b, failed := p.run(ctx, how, f, appendClose((*buf)[:0], f.stream, OK))
	putMessage(m)
	max := p.ch.MaxMessage()
	if failed == nil && len(b) > max {
		failed = Errorf(ResourceExhausted, "the result has %d bytes, the limit is %d", len(b), max)
	}
	if failed != nil {
		b = appendError(b[:0], f.stream, failed, max)
	}
	p.in.end(f.stream)
	p.reply(b)
	putFrame(buf, b)
}

// reply sends a close frame. Its errors end the connection, which the reader sees.
func (p *Peer) reply(b []byte) {
	p.quick(len(b))
	p.ch.Send(msg.Message{Data: b})
}

// run runs the handler; the result is appended to out.
func (p *Peer) run(ctx context.Context, how *method, f frame, out []byte) (b []byte, failed *Error) {
	if how == nil {
		return out, Errorf(Unimplemented, "there is no method %q", f.method)
	}
	c, failed := p.codec(f.codec)
	if failed != nil {
		return out, failed
	}
	returned := false
	defer func() {
		switch v := recover(); {
		case v != nil:
			p.o.log.Error("rpc: a handler panicked", "method", string(f.method), "panic", v, "peer", p.Identity(), "stack", string(debug.Stack()))
			b, failed = out, Errorf(Internal, "the handler of %q panicked", f.method)
		case !returned: // runtime.Goexit: nobody else will answer
			p.in.end(f.stream)
			p.reply(appendError(nil, f.stream, Errorf(Internal, "the handler of %q ended its goroutine", f.method), p.ch.MaxMessage()))
		}
	}()
	start := time.Now()
	b, err := how.h(ctx, c, f.value, out)
	returned = true
	how.took(time.Since(start))
	if err != nil {
		return out, toError(err)
	}
	return b, nil
}

// codec is the one that the other side means by its number.
func (p *Peer) codec(n uint8) (Codec, *Error) {
	if int(n) >= len(p.in.names) {
		return nil, Errorf(Unimplemented, "codec %d was not announced", n)
	}
	name := p.in.names[n]
	if i := slices.IndexFunc(p.codecs, func(c Codec) bool { return c.Name() == name }); i >= 0 {
		return p.codecs[i], nil
	}
	return nil, Errorf(Unimplemented, "the codec %q is not known here", name)
}
