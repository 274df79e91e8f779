package msg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/internal/mem"
	"github.com/standpipe/standpipe/internal/ring"
)

// Config says what a Channel takes. A nil *Config and the zero one are the safe default.
type Config struct {
	// MaxMessage is the most bytes of data in a message, both ways; the peer is told. Zero: 16 MiB. At least 64 KiB.
	MaxMessage int

	// MaxShared is the most bytes of buffers in a message, and of memory that one side shares with the other for them; the peer is told, and
	// the lesser of both sides' limits holds. Zero: 1 GiB. Negative: no buffers are taken. At most 4 GiB - 1.
	MaxShared int64

	// Ring says whether messages may travel through a ring in shared memory, without system calls while both sides are
	// awake. Zero, RingAuto: where the peer can, once the connection has something to carry. It costs 1 MiB of memory each way at most
	// (32 KiB while messages are small), and processor time for looking whether something has come, only while that pays. See docs/memory.md.
	Ring RingMode

	// Keys are lines for the hello, of packages that build on this one. See spec/wire.md, 1.4.
	Keys map[string]string
}

const (
	defaultMaxMessage = 16 << 20
	defaultMaxShared  = 1 << 30
	helloTime         = 10 * time.Second // for the peer's hello to arrive
	closeTime         = time.Second      // for what is queued to leave at Close
)

// A Message is what one Send sends and one Recv receives.
type Message struct {
	// Data may be used again when Send returns. What Recv returns is yours.
	Data []byte

	// Buffers belong to the peer once they were sent. What Recv returns is yours, to be released.
	Buffers []Buffer
}

// A Channel sends and receives messages over a connection, which belongs to it from then on, deadlines included.
//
// Send may be called by many goroutines at once, Recv by one at a time; Close at any time, and it ends those who wait.
type Channel struct {
	c   net.Conn
	bad error // what is wrong with the Config
	own limits
	w   writer
	r   reader
	sh  sharing

	pieces     chan struct{} // held by who sends buffers in pieces
	piecesSent uint32        // of who holds it: buffers that have begun

	sent    atomic.Uint32 // messages, until there is a ring
	closing atomic.Bool
	over    chan struct{}     // closed by Close,
	ended   atomic.Bool       // after this was set
	reaped  bool              // all memory is given up; r.mu guards it
	lim     atomic.Uint64     // see limit: message above, buffers below
	greeted chan struct{}     // closed when the peer's hello is here
	keys    map[string]string // of the peer's hello, for Greet
}

// New makes a Channel on c. Nothing is sent or received until the first Send or Recv. A Config that can't be is told by
// those.
func New(c net.Conn, cfg *Config) *Channel {
	if cfg == nil {
		cfg = &Config{}
	}
	ch := &Channel{c: c, greeted: make(chan struct{}), over: make(chan struct{}), pieces: make(chan struct{}, 1)}
	ch.sh.line.init(c)
	ch.sh.mode = cfg.Ring
	ch.lim.Store(leastData << 32) // what everybody takes: spec/wire.md, 1.6
	hello, err := ch.configure(*cfg)
	ch.bad = err
	ch.w.init(&ch.sh.line, ch.reap, hello.append(nil), err)
	ch.r.init(&ch.sh, ch.own, err)
	return ch
}

func (ch *Channel) configure(cfg Config) (hello, error) {
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = defaultMaxMessage
	}
	switch {
	case cfg.MaxShared == 0:
		cfg.MaxShared = defaultMaxShared
	case cfg.MaxShared < 0:
		cfg.MaxShared = 0
	}
	if cfg.MaxMessage < leastData || int64(cfg.MaxMessage) > 1<<32-1 {
		return hello{}, fmt.Errorf("msg: Config.MaxMessage is %d; it must be from %d to 4294967295", cfg.MaxMessage, leastData)
	}
	if cfg.MaxShared > 1<<32-1 {
		return hello{}, fmt.Errorf("msg: Config.MaxShared is %d; it must be below 4 GiB", cfg.MaxShared)
	}
	if cfg.Ring < RingAuto || cfg.Ring > RingOff {
		return hello{}, fmt.Errorf("msg: Config.Ring is %d, which is none of RingAuto, RingOn and RingOff", cfg.Ring)
	}
	ch.own = limits{message: uint32(cfg.MaxMessage), buffers: uint32(cfg.MaxShared)}
	h := hello{maxMessage: ch.own.message, maxBuffers: ch.own.buffers, keys: cfg.Keys}
	h.share, h.ring = ch.sh.offer()
	h.futex = h.ring && ring.Futexes
	return h, h.check()
}

// Conn is the connection, for its addresses and the peer's identity. It must not be read, written or given deadlines.
func (ch *Channel) Conn() net.Conn { return ch.c }

// limit is what a message to the peer may have: our own limits, and the peer's where they are known.
func (ch *Channel) limit() limits {
	l := ch.lim.Load()
	return limits{message: uint32(l >> 32), buffers: uint32(l)}
}

// MaxMessage is the most bytes of data that a message to the peer may have: 64 KiB until the peer's hello has come, then the
// lesser of both sides' limits.
func (ch *Channel) MaxMessage() int { return int(ch.limit().message) }

// Send sends m. It returns when m was written, or is queued behind a write that another goroutine has under way; while
// much is queued, it waits. Errors of a queued write are those of the next Send, and end Recv.
//
// The data may be used again when Send returns; m's buffers belong to the peer, unless the error is ErrTooLarge or
// ErrReleased, which change nothing. Any other error is final: the connection is closed then. Before the peer's hello was
// received (by Recv, or Greet), no more than 64 KiB may be sent, and no buffers.
func (ch *Channel) Send(m Message) error {
	if ch.bad != nil {
		return ch.bad
	}
	if len(m.Buffers) == 0 {
		return ch.SendData(context.Background(), m.Data)
	}
	return ch.SendBuffers(context.Background(), m.Buffers, m.Data)
}

func tooLarge(n int, lim limits) error {
	return fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrTooLarge, n, lim.message)
}

// SendData sends a message whose data is the parts of data, one behind the other, so that a head and a body need not be
// copied together. When ctx ends, it does not wait for the peer to read any more: what has not left is copied and sent later,
// since a message can't be taken back. Otherwise it is Send.
func (ch *Channel) SendData(ctx context.Context, data ...[]byte) error {
	return ch.sendData(ctx, false, data)
}

func (ch *Channel) sendData(ctx context.Context, queue bool, data [][]byte) error {
	if ch.bad != nil {
		return ch.bad
	}
	n := 0
	for _, p := range data {
		n += len(p)
	}
	if lim := ch.limit(); uint64(n) > uint64(lim.message) {
		return tooLarge(n, lim)
	}
	ch.count(n)
	return ch.w.send(ctx, queue, header{uint32(n), kindMessage, 0}, data)
}

// SendBuffers is SendData with buffers, as Send has them. Large ones that are not in shared memory leave in pieces, with other messages between
// them. When ctx ends before all pieces have left, the message is not sent, and the error is why ctx ended; the buffers are gone all the same.
func (ch *Channel) SendBuffers(ctx context.Context, buffers []Buffer, data ...[]byte) error {
	if ch.bad != nil {
		return ch.bad
	}
	lim := ch.limit()
	n, bulk := 0, uint64(0)
	for _, p := range data {
		n += len(p)
	}
	for _, b := range buffers {
		bulk += uint64(b.Len())
	}
	switch {
	case len(buffers) > maxBuffers:
		return fmt.Errorf("%w: it has %d buffers; at most %d may be", ErrTooLarge, len(buffers), maxBuffers)
	case uint64(n) > uint64(lim.message):
		return tooLarge(n, lim)
	case uint64(n)+bulk+refSize*maxBuffers > math.MaxUint32:
		return fmt.Errorf("%w: it has %d bytes with its buffers", ErrTooLarge, uint64(n)+bulk)
	case bulk > uint64(lim.buffers):
		return fmt.Errorf("%w: its buffers have %d bytes, above the limit of %d", ErrTooLarge, bulk, lim.buffers)
	}
	for i, b := range buffers {
		if !b.take() {
			for _, taken := range buffers[:i] {
				taken.giveBack()
			}
			return fmt.Errorf("%w: number %d of %d, of %d bytes", ErrReleased, i+1, len(buffers), b.Len())
		}
	}
	return ch.sendTaken(ctx, buffers, n, data)
}

// sendTaken sends buffers that are nobody's any more: in their segments, where those are this Channel's, in pieces ahead of the message, or as bytes
// in it.
func (ch *Channel) sendTaken(ctx context.Context, buffers []Buffer, n int, data [][]byte) (err error) {
	refs := make([]byte, 0, refSize*len(buffers))
	parts := append([][]byte{nil}, data...)
	length := n + cap(refs)
	var segments []*made
	var shared int64  // bytes in them
	var gone []uint32 // the numbers of those that have gone in pieces
	defer func() {
		for _, b := range buffers {
			b.sent(ch)
		}
	}()
	for i, b := range buffers {
		r := ref{size: b.Len()}
		switch m := ch.share(b); {
		case m != nil:
			r.segment = m.number
			segments = append(segments, m)
			shared += int64(r.size)
		case r.size > mostPiece:
			if len(gone) == 0 {
				if err = ch.lockPieces(ctx); err == nil {
					defer ch.unlockPieces() // when the message has left, too
				}
			}
			if err == nil {
				r.pieces, err = ch.sendPieces(ctx, b.m.view)
			}
			if err != nil {
				for _, b := range buffers[i+1:] {
					if b.m != nil && b.m.made != nil && b.m.made.maker == &ch.sh.maker {
						segments = append(segments, b.m.made)
					}
				}
				ch.takeBack(segments, gone)
				return err
			}
			gone = append(gone, r.pieces)
		case b.m != nil:
			parts = append(parts, b.m.view)
			length += r.size
		}
		refs = appendRef(refs, r)
	}
	parts[0] = refs
	ch.count(length)
	if len(segments) > 0 {
		for _, m := range segments {
			m.send()
		}
		ch.w.carried(shared)
	}
	return ch.w.send(ctx, false, header{uint32(length), kindMessage, len(buffers)}, parts)
}

// takeBack: a message is not sent, of which that much was prepared.
func (ch *Channel) takeBack(segments []*made, gone []uint32) {
	for _, m := range segments {
		m.release()
	}
	for _, number := range gone {
		ch.drop(number)
	}
}

// share is the segment that b's bytes are in, or were copied to: b may be another Channel's, or the peer's own.
func (ch *Channel) share(b Buffer) *made {
	switch {
	case b.m == nil:
		return nil
	case b.m.made != nil && b.m.made.maker == &ch.sh.maker:
		return b.m.made
	case b.Len() < leastShared:
		return nil
	}
	m, _, _ := ch.sh.maker.get(b.Len())
	if m != nil {
		mem.Copy(m.mem.Bytes(), b.m.view)
	}
	return m
}

// Recv receives the next message. It returns io.EOF when the peer has closed between two messages, net.ErrClosed after
// Close, and a *ProtocolError where the peer did what it must not; every error is final.
func (ch *Channel) Recv() (Message, error) {
	var m Message
	memory, err := ch.RecvInto(&m)
	if memory == nil {
		m.Data = append([]byte{}, m.Data...)
	}
	return m, err
}

// RecvInto is Recv for those who receive much and keep little. The data is a part of memory, which is the receiver's own, to be
// given back by Free when it is not needed any more. Where memory is nil, the data is only lent, until the next RecvInto or Recv.
func (ch *Channel) RecvInto(m *Message) (memory []byte, err error) {
	ch.r.mu.Lock()
	memory, err = ch.recvInto(m)
	ch.r.more = ch.r.ready()
	ch.leave()
	return memory, err
}

func (ch *Channel) recvInto(m *Message) (memory []byte, err error) {
	if err := ch.greet(); err != nil {
		return nil, err
	}
	switch {
	case ch.r.err != nil:
		return nil, ch.r.err
	case ch.reaped, ch.r.leaving.Load():
		return nil, net.ErrClosed
	}
	memory = ch.r.message(m)
	switch ch.r.err {
	case nil:
		return memory, nil
	case ErrInterrupted:
		ch.r.err = nil
		if ch.r.leaving.Load() { // drain goes on
			return nil, net.ErrClosed
		}
		return nil, ErrInterrupted
	}
	if errors.Is(ch.r.err, net.ErrClosed) { // perhaps the writer has closed, since the peer lied to it
		ch.r.err = ch.w.blame(ch.r.err)
	}
	ch.fail(ch.r.err)
	return nil, ch.r.err
}

// Greet sends our hello and waits for the peer's. It returns the lines that this package does not use itself, the first time. The
// first Recv does the same; Greet is for packages that build on this one, and must not be called beside Recv.
func (ch *Channel) Greet() (map[string]string, error) {
	ch.r.mu.Lock()
	defer ch.leave()
	if err := ch.greet(); err != nil {
		return nil, err
	}
	ch.r.more = ch.r.ready()
	keys := ch.keys
	ch.keys = nil
	return keys, nil
}

// greet exchanges hellos, once. Ours leaves in its own goroutine, since the peer may not read before it has sent its own.
func (ch *Channel) greet() error {
	if ch.r.greeted || ch.r.err != nil {
		return ch.r.err
	}
	go ch.w.flush()
	peer, ok := ch.r.greet(time.Now().Add(helloTime))
	if !ok {
		ch.fail(ch.r.err)
		return ch.r.err
	}
	ch.hear(peer)
	if ch.sh.mode == RingOn {
		ch.sh.makeArea(ch)
	}
	return nil
}

// hear takes the peer's hello.
func (ch *Channel) hear(peer hello) {
	ch.keys = peer.keys
	ch.lim.Store(uint64(min(ch.own.message, peer.maxMessage))<<32 | uint64(min(ch.own.buffers, peer.maxBuffers)))
	ch.r.lim.shared = ch.sh.agree(ch, peer)
	close(ch.greeted)
}

// Buffered says whether the next Recv has its message already. It must not be called beside Recv.
func (ch *Channel) Buffered() bool { return ch.r.more }

// Queue is SendData that leaves the writing to the next Send or Flush, where it can: for who answers several messages that
// came together.
func (ch *Channel) Queue(ctx context.Context, data ...[]byte) error {
	return ch.sendData(ctx, true, data)
}

// InRing says whether what is sent goes through the ring. Once it does, it goes on so until the end.
func (ch *Channel) InRing() bool { return ch.w.over.Load() }

// QueueRelease releases buffers, and leaves it to the next Send or Flush to tell the peer: for who has something to send now.
func (ch *Channel) QueueRelease(buffers ...Buffer) {
	for _, b := range buffers {
		b.release(true)
	}
}

// Flush writes what Queue and QueueRelease have left. Where the ring has no room for it, it does not wait: it is written when there is some.
func (ch *Channel) Flush() { ch.w.flush() }

// Interrupt makes a Recv that waits, or the next one, return ErrInterrupted. Nothing is lost by it: the Recv after that goes
// on where that one was. It does nothing to a Greet.
func (ch *Channel) Interrupt() {
	select {
	case <-ch.greeted:
		ch.interrupt()
	default:
	}
}

func (ch *Channel) interrupt() {
	ch.r.stop.Store(true)
	if ring := ch.sh.ring.Load(); ring != nil {
		ring.Interrupt(true)
	}
	ch.c.SetReadDeadline(time.Unix(1, 0))
}

// fail ends the connection after an error of Recv; where the peer is at fault, it is told.
func (ch *Channel) fail(err error) {
	if e := fault(err); e != nil {
		ch.w.abort(e.Text)
		ch.close(wrong, true)
	} else {
		ch.close(gone, true)
	}
}

// Abort tells the peer why, and closes: for packages that build on this one, when the peer breaks their rules.
func (ch *Channel) Abort(reason string) error {
	reading := ch.leavesHandles() && !ch.closing.Load() && ch.takeReading()
	if reading {
		ch.r.keepLent()
		ch.r.err = cmp.Or(ch.r.err, net.ErrClosed)
		defer ch.leave()
	}
	ch.w.abort(reason)
	return ch.close(wrong, reading)
}

// Close ends the connection and everybody who waits, with net.ErrClosed. What was queued is still written, if the peer
// takes it within a second. (TCP throws away what the peer has not read yet where this side has not read all; Unix sockets
// and pipes do not.) Further calls do nothing.
func (ch *Channel) Close() error { return ch.close(unknown, false) }

// close: reading, the caller has the reader's lock.
func (ch *Channel) close(e ending, reading bool) error {
	if ch.closing.Swap(true) {
		if !reading { // who closes may want the lock
			<-ch.over
		}
		return nil
	}
	ring := ch.sh.ring.Load()
	if ring != nil && e == gone {
		ring.End(io.EOF) // who writes may not hear of it
	}
	ch.w.finish()
	ch.drain(e, reading)
	err := ch.c.Close()
	if ring = ch.sh.ring.Load(); ring != nil {
		ring.Close()
	}
	ch.ended.Store(true)
	close(ch.over)
	ch.reap()
	return err
}

// leave ends a reader's use of the Channel.
func (ch *Channel) leave() {
	ch.r.mu.Unlock()
	ch.reap()
}

// reap gives up all memory when the Channel was closed and nobody uses it any more: whoever is the last to leave does it.
func (ch *Channel) reap() {
	if !ch.ended.Load() {
		return
	}
	for done := false; !done; {
		if !ch.r.mu.TryLock() {
			return // who has it comes here
		}
		left := ch.w.left()
		if left && !ch.reaped {
			ch.reaped = true
			ch.sh.end()
		}
		ch.r.mu.Unlock()
		done = left || !ch.w.left() // a writer who has left since may have found the lock taken
	}
}
