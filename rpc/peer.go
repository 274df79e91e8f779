package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
)

// options are what a Server and a DialConfig have in common, with the defaults filled in.
type options struct {
	codec      Codec
	maxMessage int
	maxCalls   int
	log        *slog.Logger
	server     *Server // nil: nothing may be called here
}

const (
	leastMessage = 64 << 10 // what every side takes
	leastCalls   = 16       // what every side runs at once, and what may be sent before its hello came
	defaultCalls = 1024
)

func (o options) fill() options {
	if o.codec == nil {
		o.codec = MessagePack
	}
	if o.maxCalls == 0 {
		o.maxCalls = defaultCalls
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

	sentBytes atomic.Int64 // what was sent
	readBytes atomic.Int64 // what of it the other side has read for certain

	out outgoing
	in  incoming

	running sync.WaitGroup // calls that are served
	turn    turn
}

func newPeer(c net.Conn, o options, dialer bool) *Peer {
	p := &Peer{o: o, codecs: o.codecs(), dialer: dialer, greeted: make(chan struct{}), ended: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.WithValue(context.Background(), peerKey{}, p))
	var names []string
	for _, c := range p.codecs {
		names = append(names, c.Name())
	}
	p.ch = msg.New(c, &msg.Config{MaxMessage: o.maxMessage, Keys: map[string]string{
		"codecs":    strings.Join(names, " "),
		"max-calls": strconv.Itoa(o.maxCalls),
	}})
	p.out.init(dialer)
	p.in.init()
	p.turn.init()
	go p.begin()
	return p
}

type peerKey struct{}

// PeerFrom, in a handler, is who calls. It is nil for a context that is not from a handler.
func PeerFrom(ctx context.Context) *Peer {
	p, _ := ctx.Value(peerKey{}).(*Peer)
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

// Close ends the connection. Calls that wait fail with Unavailable, and the contexts of handlers end. It does not wait
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
	p.read()
}

// read receives until the end, or until another goroutine has picked up the turn. See turn.go.
func (p *Peer) read() {
	m := getMessage()
	for {
		err := p.ch.RecvInto(m)
		if errors.Is(err, msg.ErrInterrupted) { // meant for a caller who has gone
			continue
		}
		if err != nil {
			p.end(err)
			return
		}
		kept, ours, run, err := p.dispatch(m)
		if err != nil {
			p.end(p.dies(err))
			return
		}
		if kept {
			m = getMessage()
		}
		if run != nil && !p.aside(run) || ours && !p.lend() {
			putMessage(m)
			return
		}
	}
}

// end is called once, by the reader.
func (p *Peer) end(err error) {
	var pe *msg.ProtocolError
	if errors.As(err, &pe) {
		p.o.log.Warn("rpc: the connection died", "error", err, "peer", p.Identity())
	}
	p.ch.Close()
	p.cancel()
	p.err = err
	close(p.ended)
	p.out.end(p.unavailable())
}

// dies ends the connection, since the other side broke the rules.
func (p *Peer) dies(err error) error {
	p.ch.Abort(err.Error())
	return &msg.ProtocolError{Text: err.Error()}
}

// dispatch gives the message to whom it belongs. kept: it is theirs now; ours: it was an answer to a call of this side. run,
// where there is one, is a call to be run.
func (p *Peer) dispatch(m *msg.Message) (kept, ours bool, run func(), err error) {
	for _, b := range m.Buffers {
		b.Release()
	}
	f, err := parseFrame(m.Data)
	if err != nil {
		return false, false, nil, err
	}
	ours = f.stream%2 == 1 == p.dialer // opened by this side
	switch {
	case f.typ == typeOpen && ours:
		err = fmt.Errorf("stream %d was opened by the wrong side", f.stream)
	case f.typ == typeOpen:
		kept = true
		run, err = p.open(f, m)
	case ours:
		kept, err = p.out.answer(f, m, p.heard)
	case f.code != Canceled && f.code != DeadlineExceeded, len(f.value) > 0:
		err = fmt.Errorf("stream %d was cancelled with the code %d and %d bytes", f.stream, f.code, len(f.value))
	default:
		p.in.cancel(f.stream)
	}
	return kept, ours, run, err
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
	p.in.names = strings.Fields(keys["codecs"])
	if len(p.in.names) > 16 || strings.Join(p.in.names, " ") != keys["codecs"] || !allValid(p.in.names) {
		return fmt.Errorf("the hello says codecs: %q, which is not a list of at most 16 names", keys["codecs"])
	}
	calls := leastCalls
	if s, ok := keys["max-calls"]; ok {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n < leastCalls {
			return fmt.Errorf("the hello says max-calls: %q, which is not a number from %d to 65535", s, leastCalls)
		}
		calls = int(n)
	}
	p.out.allow(calls)
	return nil
}

// quick counts n bytes to be sent, and says whether so little is on its way that the kernel's buffer takes it, whatever the
// other side does. Only an answer proves that the other side has read, and no more than its own call and what went before.
func (p *Peer) quick(n int) (mark int64, ok bool) {
	mark = p.sentBytes.Add(int64(n))
	return mark, mark-p.readBytes.Load() <= 32<<10
}

// heard: the other side has read up to that mark.
func (p *Peer) heard(mark int64) {
	for old := p.readBytes.Load(); mark > old && !p.readBytes.CompareAndSwap(old, mark); old = p.readBytes.Load() {
	}
}

const mostKept = 4 << 20 // a larger piece of memory is not kept for the next call

var messages = sync.Pool{New: func() any { return new(msg.Message) }}

func getMessage() *msg.Message { return messages.Get().(*msg.Message) }

// putMessage gives a message back, unless it grew large.
func putMessage(m *msg.Message) {
	if m != nil && cap(m.Data) <= mostKept {
		messages.Put(m)
	}
}
