package rpc

import (
	"context"
	"fmt"
	"iter"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/msg"
)

// incoming is the calls of the other side.
type incoming struct {
	codecs []Codec // the other side's, by its own places; nil: unknown here
	names  []string
	window int64 // the credit of a new stream

	mu       sync.Mutex
	calls    table
	contexts contexts
	few      int // calls so far, up to fewCalls
	begun    int64
	failed   int64 // of them
	draining bool
	quiet    []chan struct{} // to be closed when none is busy

	watched atomic.Bool  // somebody has asked for quiet
	busy    atomic.Int32 // handlers, from open to the end of the reply
}

const fewCalls = 4

// served is one call of the other side.
type served struct {
	p      *Peer
	number uint32
	m      *route
	codec  Codec
	ctx    *callContext
	stream *stream // a stream's

	small []byte       // memory for a small value
	data  []byte       // the memory of another one
	value []byte       // a unary call's, in one of the two
	with  []msg.Buffer // received with it
	held  int64        // of value and with, see Peer.hold

	buf    []byte // memory for out
	out    []byte // the close frame; a handler of a unary call appends its result,
	tail   []byte // and may have the rest of it elsewhere
	beside []msg.Buffer

	values idle   // of the last call in this memory
	start  func() // serves in a goroutine of its own; made once
}

var serveds = sync.Pool{New: func() any { return &served{} }}

func newServed() *served {
	c := serveds.Get().(*served)
	if c.start == nil {
		c.start = func() {
			c.serve()
			serveds.Put(c)
		}
	}
	return c
}

// table is the calls by their numbers. A well-behaved peer uses low ones again and again: those have places; for the rest there is a map.
type table struct {
	places []*served // by half of the number
	others map[uint32]*served
	n      int
}

const mostPlaces = 2 << 10

func (t *table) at(number uint32) *served {
	if i := number / 2; i < mostPlaces {
		if int(i) < len(t.places) {
			return t.places[i]
		}
		return nil
	}
	return t.others[number]
}

// put is for a number that is free.
func (t *table) put(number uint32, c *served) {
	t.n++
	i := int(number / 2)
	if i >= mostPlaces {
		if t.others == nil {
			t.others = map[uint32]*served{}
		}
		t.others[number] = c
		return
	}
	for len(t.places) <= i {
		t.places = append(t.places, nil)
	}
	t.places[i] = c
}

// remove is for a number that has a call, or none any more.
func (t *table) remove(number uint32) {
	i := int(number / 2)
	switch {
	case t.at(number) == nil:
		return
	case i < mostPlaces:
		t.places[i] = nil
	default:
		delete(t.others, number)
	}
	t.n--
}

func (t *table) all() iter.Seq[*served] {
	return func(yield func(*served) bool) {
		for _, c := range t.places {
			if c != nil && !yield(c) {
				return
			}
		}
		for _, c := range t.others {
			if !yield(c) {
				return
			}
		}
	}
}

// cancel ends the context of a call, if there still is one.
func (in *incoming) cancel(number uint32, code Code) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if c := in.calls.at(number); c != nil {
		err := context.Canceled
		if code == DeadlineExceeded {
			err = context.DeadlineExceeded
		}
		c.ctx.cancel(err)
	}
}

// streamAt is the stream that the opener has sent data or credit for; nil where it has ended, or is no stream.
func (in *incoming) streamAt(f *frame) (*stream, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	c := in.calls.at(f.stream)
	switch {
	case c == nil:
		return nil, nil
	case c.stream == nil && f.typ == typeData:
		return nil, fmt.Errorf("stream %d got data and is a unary call", f.stream)
	}
	return c.stream, nil
}

// forget takes a call out of the table; from then on the other side may use its number again.
func (in *incoming) forget(number uint32, failed bool) {
	in.mu.Lock()
	if failed {
		in.failed++
	}
	in.calls.remove(number)
	in.mu.Unlock()
}

// left counts a handler out.
func (in *incoming) left() {
	if in.busy.Add(-1) > 0 || !in.watched.Load() {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.settle()
}

// settle: mu is held.
func (in *incoming) settle() {
	if in.busy.Load() == 0 {
		for _, c := range in.quiet {
			close(c)
		}
		in.quiet = nil
	}
}

// whenQuiet is closed when no handler runs, and each has been answered.
func (in *incoming) whenQuiet() <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	c := make(chan struct{})
	in.quiet = append(in.quiet, c)
	in.watched.Store(true)
	in.settle()
	return c
}

// end ends the contexts of all handlers, and their streams.
func (in *incoming) end() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.draining = true
	for c := range in.calls.all() {
		c.ctx.cancel(context.Canceled)
	}
}

// drain refuses calls from now on, and tells the other side.
func (p *Peer) drain() {
	p.in.mu.Lock()
	told := p.in.draining
	p.in.draining = true
	p.in.mu.Unlock()
	if !told {
		go p.ch.SendData(p.ctx, appendFrame(nil, 0, typeDrain, 0, 0))
	}
}

// open takes a call of the other side. It runs in a goroutine of its own, or is returned, to be run by the reader.
func (p *Peer) open(f *frame, m packet) (run *served, err error) {
	how := p.last
	if how == nil || how.name != string(f.method) {
		if how = p.o.server.lookup(f.method); how != nil {
			p.last = how
		}
	}
	if !p.called.Load() {
		p.called.Store(true)
	}
	in := &p.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.calls.at(f.stream) != nil {
		return nil, fmt.Errorf("stream %d was opened and is open", f.stream)
	}
	if busy := int(in.busy.Load()); busy >= 2*p.o.maxCalls {
		return nil, fmt.Errorf("%d calls at once, where %d were allowed", busy, p.o.maxCalls)
	}
	in.busy.Add(1)
	in.begun++
	if refused := p.refused(f, how); refused != nil {
		in.failed++
		p.o.server.census.refused.add(refused.Code)
		b := appendError(nil, f.stream, refused, nil, nil, p.ch.MaxMessage())
		go func() {
			defer in.left()
			p.ch.SendData(p.ctx, b)
		}()
		return nil, nil
	}
	c := p.spare
	if p.spare = nil; c == nil {
		c = newServed()
	}
	c.p, c.number, c.m, c.ctx = p, f.stream, how, in.contexts.make()
	c.codec = in.codecs[f.codec]
	c.ctx.p = p
	if len(f.meta) > 0 {
		c.ctx.state().meta = append([]byte(nil), f.meta...)
	}
	in.calls.put(f.stream, c)
	if f.has(flagStream) {
		s := newStream(p, f.stream, false, in.window)
		s.ctx, s.hctx, s.codec = c.ctx, c.ctx, c.codec
		c.stream, c.ctx.state().stream = s, s
	}
	const longest = uint64(100 * 365 * 24 * time.Hour)
	if f.timeout != 0 && f.timeout < longest {
		c.ctx.limit(time.Duration(f.timeout))
	}
	if c.stream != nil {
		go c.start()
		return nil, nil
	}
	c.with = p.takeBuffers()
	c.ctx.receive(c.with)
	c.held = int64(len(f.value)) + private(c.with)
	if len(f.value) <= smallValue {
		c.small = append(c.small[:0], f.value...)
		c.value = c.small
	} else {
		c.data = m.keep(f.value)
		c.value = c.data[len(c.data)-len(f.value):]
	}
	if in.few < fewCalls {
		in.few++ // handlers need a large stack, which the reader of a connection with few calls need not have
	} else if how.paceOf(c.value).quick(p.more) {
		return c, nil
	}
	go c.start()
	return nil, nil
}

// refused is why a call can't even begin, or nil. in.mu is held. What it finds here takes no handler.
func (p *Peer) refused(f *frame, how *route) *Error {
	in := &p.in
	switch {
	case in.draining:
		return errDraining
	case in.calls.n >= p.o.maxCalls:
		return Errorf(ResourceExhausted, "more than %d calls at once", p.o.maxCalls)
	case how == nil:
		return Errorf(Unimplemented, "there is no method %q", f.method)
	case int(f.codec) >= len(in.codecs):
		return Errorf(Unimplemented, "codec %d was not announced", f.codec)
	case in.codecs[f.codec] == nil:
		return Errorf(Unimplemented, "the codec %q is not known here", in.names[f.codec])
	case f.has(flagStream) && how.stream == nil:
		return Errorf(Unimplemented, "the method %q is unary: call it", f.method)
	case !f.has(flagStream) && how.unary == nil:
		return Errorf(Unimplemented, "the method %q is a stream: open it", f.method)
	}
	if err := p.hold(int64(len(f.value)) + private(p.got.Buffers)); err != nil {
		return err
	}
	return nil
}

var errDraining = &Error{Code: Unavailable, Message: "the other side is about to end, and takes no further calls"}

// hold counts bytes of values that came and that no user has taken.
func (p *Peer) hold(n int64) *Error {
	if p.held.Add(n) > p.o.maxQueued && n > 0 {
		p.held.Add(-n)
		return Errorf(ResourceExhausted, "more than %d bytes of values of one peer wait to be taken", p.o.maxQueued)
	}
	return nil
}

func (p *Peer) release(n int64) {
	if n != 0 {
		p.held.Add(-n)
	}
}

var frames = sync.Pool{New: func() any { return new([]byte) }}

const mostKept = 4 << 20 // a larger piece of memory is not kept for the next frame

// putFrame gives a frame's memory back, unless it grew large.
func putFrame(buf *[]byte, b []byte) {
	if cap(b) <= mostKept {
		*buf = b[:0]
		frames.Put(buf)
	}
}

// serve runs a call, and replies. c may be used again when it returns.
func (c *served) serve() {
	p := c.p
	c.out = c.buf[:0]
	returned := false
	defer func() {
		if !returned { // runtime.Goexit: nobody else will answer
			c.end(Errorf(Internal, "the handler of %q ended its goroutine", c.m.name))
		}
		p.in.left()
	}()
	failed := c.run()
	returned = true
	c.end(failed)
	msg.Free(c.data)
	if cap(c.out) > mostKept {
		c.out = nil
	}
	if c.values != nil {
		c.values.clear()
	}
	c.p, c.m, c.codec, c.ctx, c.stream, c.held = nil, nil, nil, nil, nil, 0
	c.data, c.value, c.with, c.tail, c.beside = nil, nil, nil, nil, nil
	c.buf, c.out = c.out, nil
}

// end answers the call.
func (c *served) end(failed *Error) {
	p := c.p
	c.ctx.finish()
	if c.stream != nil {
		if overrun := c.stream.finish(); overrun != nil {
			failed = overrun
		}
		p.readOn() // it may have been reading
	}
	max := p.ch.MaxMessage()
	if n := len(c.out) + len(c.tail); failed == nil && n > max {
		failed = Errorf(ResourceExhausted, "the result has %d bytes, the limit is %d", n, max)
	}
	var header, trailer Metadata
	if c.stream != nil || failed != nil { // or they are in out already
		header, trailer = c.ctx.takeReply()
	}
	switch {
	case failed != nil:
		c.m.tally.failed.add(failed.Code)
		c.out, c.tail = appendError(c.out[:0], c.number, failed, header, trailer, max), nil
	case c.stream != nil:
		c.out = appendClose(c.out[:0], c.number, false, header, trailer)
	}
	p.release(c.held)
	p.in.forget(c.number, failed != nil)
	p.quick(len(c.out) + len(c.tail))
	if failed != nil {
		releaseAll(c.beside) // of a result that is not sent
		c.beside = nil
	}
	if received := c.ctx.takeReceived(); len(received) > 0 {
		received = slices.DeleteFunc(received, func(b msg.Buffer) bool { return slices.Contains(c.beside, b) })
		defer releaseAll(received)
		if len(c.tail) == 0 { // which may lie in them
			p.ch.QueueRelease(received...)
		}
	}
	if len(c.beside) > 0 {
		refused := unsendable(context.Background(), p.ch.SendBuffers(context.Background(), c.beside, c.out, c.tail))
		if refused == nil {
			return
		}
		releaseAll(c.beside)
		failed = Errorf(Internal, "the result of %q can't be sent: %w", c.m.name, refused)
		c.m.tally.failed.add(failed.Code)
		p.in.mu.Lock()
		p.in.failed++
		p.in.mu.Unlock()
		c.out, c.tail = appendError(c.out[:0], c.number, failed, header, trailer, max), nil
	}
	p.send(context.Background(), true, c.out, c.tail) // its errors end the connection, which the reader sees
}

// run runs the handler.
func (c *served) run() (failed *Error) {
	defer func() {
		if v := recover(); v != nil {
			c.p.o.log.Error("rpc: a handler panicked", "method", c.m.name, "panic", v, "peer", c.p.Identity(), "stack", string(debug.Stack()))
			failed = Errorf(Internal, "the handler of %q panicked", c.m.name)
		}
	}()
	if err := c.m.admit(c.p); err != nil {
		c.m.tally.others.Add(1)
		return err
	}
	if c.stream != nil {
		c.m.tally.others.Add(1)
		start := time.Now()
		err := c.m.stream(c, c.stream)
		c.m.tally.times.add(time.Since(start), 1)
		if err != nil {
			return toError(err)
		}
		return nil
	}
	err := c.m.timed(c)
	if err != nil {
		return toError(err)
	}
	return nil
}

// begin begins the close frame of a unary call that succeeds, when its handler has returned.
func (c *served) begin() []byte {
	header, trailer := c.ctx.takeReply()
	return appendClose(c.out[:0], c.number, true, header, trailer)
}
