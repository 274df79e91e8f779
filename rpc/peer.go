package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
)

// options are what a Server and a DialConfig have in common, with the defaults filled in.
type options struct {
	codec      Codec
	maxMessage int
	maxCalls   int
	maxQueued  int64
	maxShared  int64
	ring       msg.RingMode
	keepalive  time.Duration
	wrap       []Interceptor
	log        *slog.Logger
	server     *Server
	gone       func(*Peer) // told when the peer has ended and its handlers have returned
}

const (
	leastMessage = 64 << 10 // what every side takes
	leastCalls   = 16       // what every side runs at once, and what may be sent before its hello came
	defaultCalls = 1024
	defaultQueue = 256 << 20
)

func (o options) fill() options {
	if o.codec == nil {
		o.codec = MessagePack
	}
	if o.maxCalls == 0 {
		o.maxCalls = defaultCalls
	}
	if o.maxQueued == 0 {
		o.maxQueued = defaultQueue
	}
	if o.log == nil {
		o.log = slog.Default()
	}
	return o
}

func (o options) check() error {
	if o.maxCalls < leastCalls || o.maxCalls > 65535 {
		return fmt.Errorf("rpc: MaxCalls is %d; it must be from %d to 65535", o.maxCalls, leastCalls)
	}
	if o.maxMessage != 0 && (o.maxMessage < 64<<10 || int64(o.maxMessage) > 1<<32-1) {
		return fmt.Errorf("rpc: MaxMessage is %d; it must be from 65536 to 4294967295", o.maxMessage)
	}
	if o.maxShared > 1<<32-1 {
		return fmt.Errorf("rpc: MaxShared is %d; it must be below 4 GiB", o.maxShared)
	}
	if o.ring < msg.RingAuto || o.ring > msg.RingOff {
		return fmt.Errorf("rpc: Ring is %d, which is none of msg.RingAuto, msg.RingOn and msg.RingOff", o.ring)
	}
	if o.maxQueued < leastWindow {
		return fmt.Errorf("rpc: MaxQueued is %d; it must be at least %d", o.maxQueued, leastWindow)
	}
	if name := o.codec.Name(); !allValid([]string{name}) {
		return fmt.Errorf("rpc: a codec can't be called %q: 1 to 32 of a-z, 0-9, '.', '+' and '-'", name)
	}
	return nil
}

// allValid says whether all are names that a codec may have. spec/wire.md, 1.6.
func allValid(names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		return name == "" || len(name) > 32 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.+-") != ""
	})
}

// codecs are those that are spoken here; the first is used for calls.
func (o options) codecs() []Codec {
	list := []Codec{o.codec}
	for _, c := range []Codec{MessagePack, Protobuf, JSON} {
		if c.Name() != o.codec.Name() {
			list = append(list, c)
		}
	}
	return list
}

// A Peer is the other side of a connection: to be called, and calling. It may be used by any number of goroutines at
// once.
type Peer struct {
	ch      *msg.Channel
	o       options
	codecs  []Codec
	dialer  bool
	ctx     context.Context // of the handlers: ends with the connection
	cancel  context.CancelFunc
	greeted chan struct{} // the other side's hello is here
	ended   chan struct{}
	err     error // why; valid when ended is closed

	sentBytes atomic.Int64  // what was sent
	readBytes atomic.Int64  // what of it the other side has read for certain
	held      atomic.Int64  // see hold
	waiting   atomic.Int32  // goroutines that wait for something to be read
	frames    atomic.Uint32 // that came, for keepalive
	silent    atomic.Bool   // keepalive has given up

	draining chan struct{} // closed when the other side takes no further calls
	drained  bool          // it is closed
	pinged   atomic.Bool   // a pong is on its way
	batch    atomic.Bool   // see endBatch
	called   atomic.Bool   // the other side has called this one
	admitted sync.Map      // *standpipe.Policy of a method to bool

	out  outgoing
	in   incoming
	turn turn
	// Of who has the turn:
	got   msg.Message
	more  bool    // the next frame is here
	woke  bool    // an answer has woken one of several callers
	own   *call   // the one that who has the turn waits for; nil: there is none, or it has been answered
	last  *route  // that was called
	spare *served // for the next call
}

func newPeer(c net.Conn, o options, dialer bool) *Peer {
	p := &Peer{o: o, codecs: o.codecs(), dialer: dialer, greeted: make(chan struct{}), ended: make(chan struct{}),
		draining: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	var names []string
	for _, c := range p.codecs {
		names = append(names, c.Name())
	}
	p.ch = msg.New(c, &msg.Config{MaxMessage: o.maxMessage, MaxShared: o.maxShared, Ring: o.ring, Keys: map[string]string{
		"codecs":    strings.Join(names, " "),
		"max-calls": strconv.Itoa(o.maxCalls),
		"window":    strconv.Itoa(leastWindow),
	}})
	p.out.init(p, dialer)
	p.turn.init()
	if p.o.server != noMethods {
		p.o.server.census.join(p)
	}
	go p.begin()
	return p
}

// Identity is who is at the other end. It is zero where the connection does not tell, as TCP.
func (p *Peer) Identity() standpipe.Identity {
	if c, ok := p.ch.Conn().(interface{ Identity() standpipe.Identity }); ok {
		return c.Identity()
	}
	return standpipe.Identity{}
}

// Conn is the connection, for its addresses. It must not be read or written.
func (p *Peer) Conn() net.Conn { return p.ch.Conn() }

// Done is closed when the connection has ended.
func (p *Peer) Done() <-chan struct{} { return p.ended }

// Err is why the connection has ended, and nil before: io.EOF where the other side closed it, net.ErrClosed where this
// one did.
func (p *Peer) Err() error {
	select {
	case <-p.ended:
		return p.err
	default:
		return nil
	}
}

// Draining is closed when the other side has said that it takes no further calls: it is about to end. Those that run go on;
// further ones fail with Unavailable at once.
func (p *Peer) Draining() <-chan struct{} { return p.draining }

// Close ends the connection. Calls that wait, and the Sends and Recvs of streams, fail with Unavailable, and the contexts of handlers end. It does not wait
// for the handlers. Further calls do nothing.
func (p *Peer) Close() error {
	err := p.ch.Close()
	p.cancel()
	return err
}

// begin greets, and reads; it is the first goroutine to do so.
func (p *Peer) begin() {
	err := p.o.check() // of NewPeer, which returns no error
	if err == nil {
		var keys map[string]string
		if keys, err = p.ch.Greet(); err == nil {
			if err = p.greet(keys); err != nil {
				err = p.dies(err)
			}
		}
	}
	if err != nil {
		p.end(err)
		return
	}
	close(p.greeted)
	if p.o.keepalive > 0 {
		go p.keepAlive()
	}
	p.read()
}

// read receives until the end, or until another goroutine has picked up the turn. See turn.go.
func (p *Peer) read() {
	p.endBatch() // of a reader that ran a handler too long
	for {
		lendable, run, err := p.receive()
		if err != nil {
			if errors.Is(err, msg.ErrInterrupted) { // meant for a caller who has gone
				continue
			}
			p.end(err)
			return
		}
		if run != nil && !p.aside(run) {
			return
		}
		if lendable && !p.lend() {
			return
		}
	}
}

// A batch is several frames that came together. While the reader is at it, what is sent is only queued, since those who are woken
// by one will all have something to send; the reader writes it when it is through.

func (p *Peer) endBatch() {
	p.batch.Store(false)
	p.ch.Flush()
}

// send sends a frame. quick: the other side will take it at once, or at least nothing is lost by trying.
func (p *Peer) send(ctx context.Context, quick bool, b, tail []byte) error {
	if quick && !p.ch.InRing() {
		ctx = context.Background() // to know when ctx ends costs something
	}
	if !quick || !p.batch.Load() {
		return p.ch.SendData(ctx, b, tail)
	}
	err := p.ch.Queue(ctx, b, tail)
	if !p.batch.Load() {
		p.ch.Flush()
	}
	return err
}

// receive receives one frame, and dispatches it. The turn is the caller's.
func (p *Peer) receive() (lendable bool, run *served, err error) {
	memory, err := p.ch.RecvInto(&p.got)
	if err != nil {
		return false, nil, err
	}
	if p.more = p.ch.Buffered(); p.more && !p.batch.Load() {
		p.batch.Store(true)
	}
	m := packet{p.got.Data, memory}
	p.got.Data = nil
	lendable, run, err = p.dispatch(m)
	releaseAll(p.takeBuffers()) // nobody wanted them
	if err != nil {
		return false, nil, p.dies(err)
	}
	if batch := p.batch.Load(); !p.more && (batch || p.woke) {
		p.woke = false
		if run == nil {
			runtime.Gosched() // those who were woken may send
		}
		if batch {
			p.endBatch()
		}
	}
	return lendable, run, nil
}

// takeBuffers is the Buffers of the frame that is being dispatched.
func (p *Peer) takeBuffers() []msg.Buffer {
	list := p.got.Buffers
	p.got.Buffers = nil
	return list
}

// end is called once, by the reader.
func (p *Peer) end(err error) {
	var pe *msg.ProtocolError
	if errors.As(err, &pe) {
		p.o.log.Warn("rpc: the connection died", "error", err, "peer", p.Identity())
	}
	if p.silent.Load() {
		err = errSilent
	}
	p.ch.Close()
	p.cancel()
	p.err = err
	p.o.server.census.leave(p)
	close(p.ended)
	p.in.end()
	p.out.end(p.unavailable())
	if p.o.gone != nil {
		go func() {
			<-p.in.whenQuiet()
			p.o.gone(p)
		}()
	}
}

// dies ends the connection, since the other side broke the rules.
func (p *Peer) dies(err error) error {
	p.ch.Abort(err.Error())
	return &msg.ProtocolError{Text: err.Error()}
}

// dispatch gives a frame to whom it belongs. lendable: somebody here has waited for it, and may read for himself the next time. run,
// where there is one, is a call to be run.
func (p *Peer) dispatch(m packet) (lendable bool, run *served, err error) {
	f := &frame{} // stays on the stack
	if p.last != nil {
		f.known = p.last.name
	}
	if err := f.parse(m.data); err != nil {
		return false, nil, err
	}
	if p.o.keepalive > 0 {
		p.frames.Add(1)
	}
	ours := f.stream%2 == 1 == p.dialer && f.stream != 0 // opened by this side
	switch f.typ {
	case typeOpen:
		if ours {
			return false, nil, fmt.Errorf("stream %d was opened by the wrong side", f.stream)
		}
		run, err = p.open(f, m)
	case typeData, typeCredit:
		lendable, err = p.flow(f, m, ours)
	case typeClose:
		switch {
		case ours:
			lendable = true
			err = p.out.answer(f, m)
		case f.code != Canceled && f.code != DeadlineExceeded, f.flags != 0, len(f.value) > 0:
			err = fmt.Errorf("stream %d was cancelled with the code %d, the flags %#x and %d bytes", f.stream, f.code, f.flags, len(f.value))
		default:
			p.in.cancel(f.stream, f.code)
		}
	case typeDrain:
		if !p.drained {
			p.drained = true
			close(p.draining)
			p.out.refuse(errDraining)
		}
	case typePing:
		p.pong()
	}
	return lendable, run, err
}

// flow gives a frame to the stream that it belongs to.
func (p *Peer) flow(f *frame, m packet, ours bool) (lendable bool, err error) {
	var s *stream
	if ours {
		s, err = p.out.streamAt(f)
	} else {
		s, err = p.in.streamAt(f)
	}
	switch {
	case s == nil || err != nil:
		return false, err
	case f.typ == typeData:
		return ours || s.keen.Load() && p.in.busy.Load() == 1, s.push(f, m)
	}
	return ours, s.give(int64(f.credit))
}

// unavailable is the error of calls that the end of the connection ended.
func (p *Peer) unavailable() *Error {
	err := p.err
	text := "the connection has ended: " + err.Error()
	switch {
	case errors.Is(err, io.EOF):
		text = "the other side closed the connection"
	case errors.Is(err, net.ErrClosed):
		text = "the connection was closed on this side"
	}
	return &Error{Code: Unavailable, Message: text, cause: err}
}

// dialError is why a connection ended before its hello.
func (p *Peer) dialError() error {
	var pe *msg.ProtocolError
	if errors.As(p.err, &pe) {
		return p.err
	}
	return &Error{Code: Unavailable, cause: p.err, Message: "the server closed the connection before its hello: it may not admit this user, be full, or be no rpc server"}
}

// greet takes the hello's lines that belong to this package.
func (p *Peer) greet(keys map[string]string) error {
	names := strings.Fields(strings.Clone(keys["codecs"])) // not the whole hello is to be kept
	if len(names) > 16 || strings.Join(names, " ") != keys["codecs"] || !allValid(names) {
		return fmt.Errorf("the hello says codecs: %q, which is not a list of at most 16 names", keys["codecs"])
	}
	calls, err := number(keys, "max-calls", leastCalls, 65535)
	if err != nil {
		return err
	}
	window, err := number(keys, "window", leastWindow, maxCredit)
	if err != nil {
		return err
	}
	p.in.names, p.in.window = names, window
	for _, name := range names {
		i := slices.IndexFunc(p.codecs, func(c Codec) bool { return c.Name() == name })
		if i < 0 {
			p.in.codecs = append(p.in.codecs, nil)
			continue
		}
		p.in.codecs = append(p.in.codecs, p.codecs[i])
	}
	p.out.allow(int(calls), window)
	return nil
}

// number is a line of the hello; least, where it is missing.
func number(keys map[string]string, key string, least, most int64) (int64, error) {
	s, ok := keys[key]
	if !ok {
		return least, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || int64(n) < least || int64(n) > most {
		return 0, fmt.Errorf("the hello says %s: %q, which is not a number from %d to %d", key, s, least, most)
	}
	return int64(n), nil
}

// quick counts n bytes to be sent, and says whether so little is on its way that the kernel's buffer takes it, whatever the
// other side does. Only an answer proves that the other side has read, and no more than its own call and what went before. The ring knows itself
// whether there is room: there is nothing to be counted.
func (p *Peer) quick(n int) (mark int64, ok bool) {
	const (
		perFrame = 256 // of the kernel's own bytes, which a socket's buffer counts, too
		most     = 32 << 10
	)
	if p.ch.InRing() {
		return 0, true
	}
	mark = p.sentBytes.Add(int64(n) + perFrame)
	return mark, mark-p.readBytes.Load() <= most
}

// heard: the other side has read up to that mark.
func (p *Peer) heard(mark int64) {
	for old := p.readBytes.Load(); mark > old && !p.readBytes.CompareAndSwap(old, mark); old = p.readBytes.Load() {
	}
}
