package msg_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/pipetest"
)

// A hostile peer: it greets, hands over its area and segments, sends and receives as everybody does, and then writes what it likes to
// its own memory, which this side reads, and rings and releases what it likes. This side returns a *ProtocolError or the end of the
// connection, or bytes; it neither hangs nor panics, and leaves nothing behind, which TestMain looks for.
//
// That it reads nothing outside the area is for internal/ring's TestGuards, which has pages around it that fault. Here it follows from the
// language: ring.New keeps the data as a slice that ends with the mapping, and all access goes through that; the only pointer without
// bounds is to the head, whose fields lie within the first 4096 bytes, and no area is smaller.
//
// STANDPIPE_HOSTILE is how long each of these tests runs (3s); STANDPIPE_SEED repeats a run, as far as the scheduler lets it.

func hostileTime(t *testing.T) time.Duration {
	if d, err := time.ParseDuration(os.Getenv("STANDPIPE_HOSTILE")); err == nil {
		return d
	}
	if testing.Short() {
		return time.Second
	}
	return 3 * time.Second
}

func hostileSeed(t *testing.T) uint64 {
	seed, err := strconv.ParseUint(os.Getenv("STANDPIPE_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("STANDPIPE_SEED=%d", seed)
	return seed
}

// hostileRounds runs round with fresh connections, one after the other, until the time is up.
func hostileRounds(t *testing.T, round func(t *testing.T, rnd *rand.Rand)) {
	seed, n := hostileSeed(t), 0
	for start, d := time.Now(), hostileTime(t); time.Since(start) < d && !t.Failed(); n++ {
		round(t, rand.New(rand.NewPCG(seed, uint64(n))))
	}
	if t.Failed() {
		t.Logf("it was connection %d", n)
	}
	t.Logf("%d connections", n)
}

// scribbler writes to what a hostile Channel has in its hands.
type scribbler struct {
	rnd  *rand.Rand
	evil *msg.Channel
	mood uint32 // the moves that it makes: few of them let the connection live longer
	done atomic.Bool
}

// Where the fields are: spec/memory.md, 5.2.
const (
	atHead    = 0
	atWindow  = 8
	atTail    = 128
	atParked  = 256
	atWaiting = 384
	atData    = 4096
)

func word(area []byte, at int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&area[at])) }
func half(area []byte, at int) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&area[at])) }

// run makes moves until done.
func (s *scribbler) run() {
	for !s.done.Load() && s.evil.WithAreas(s.moves) {
		switch s.rnd.IntN(40) {
		case 0:
			s.evil.RingBell()
		case 1:
			if s.mood>>10&1 == 1 {
				s.evil.Utter(s.rnd)
			}
		case 2:
			s.evil.WithSegment(func(b []byte) { s.fill(b, s.rnd.IntN(len(b)), 1000) })
		case 3:
			time.Sleep(time.Duration(s.rnd.IntN(300)) * time.Microsecond) // let them park
		default:
			runtime.Gosched()
		}
	}
}

func (s *scribbler) moves(mine, theirs []byte) {
	for range 1 + s.rnd.IntN(20) {
		if move := s.rnd.IntN(10); s.mood>>move&1 == 1 {
			s.move(move, mine, theirs)
		}
	}
}

func (s *scribbler) move(move int, mine, theirs []byte) {
	read, written := word(theirs, atTail).Load(), word(theirs, atHead).Load() // by the victim
	switch move {
	case 0:
		word(mine, atHead).Store(s.odd(read))
	case 1:
		word(mine, atWindow).Store(s.odd(4096))
	case 2: // what it may be, at the wrong moment
		word(mine, atWindow).Store(4096 << s.rnd.IntN(9))
	case 3:
		word(mine, atTail).Store(s.odd(written))
	case 4: // half of it first
		at := []int{atHead, atWindow, atTail}[s.rnd.IntN(3)]
		v := s.odd(read)
		half(mine, at+4*s.rnd.IntN(2)).Store(uint32(v))
		runtime.Gosched()
		word(mine, at).Store(v)
	case 5: // each odd number asks for a bell
		for range s.rnd.IntN(100) {
			half(mine, atParked).Add(2)
			half(mine, atWaiting).Add(2)
		}
	case 6:
		half(mine, []int{atParked, atWaiting}[s.rnd.IntN(2)]).Store(s.rnd.Uint32())
	case 7: // rolling
		for range s.rnd.IntN(200) {
			word(mine, []int{atHead, atTail}[s.rnd.IntN(2)]).Add(1)
		}
	case 8:
		s.fill(mine, atData+s.rnd.IntN(len(mine)-atData), s.rnd.IntN(5000))
	case 9: // frames, where the victim reads next, and it is told of them
		head := word(mine, atHead).Load()
		mask := min(word(mine, atWindow).Load(), uint64(len(mine)-atData)) - 1
		b := s.frames()
		for i, c := range b {
			put(mine, atData+int((head+uint64(i))&mask&uint64(len(mine)-atData-1)), c)
		}
		word(mine, atHead).Add(uint64(len(b)))
	}
}

// odd is a number that should not be where something near v is.
func (s *scribbler) odd(v uint64) uint64 {
	switch s.rnd.IntN(8) {
	case 0:
		return s.rnd.Uint64()
	case 1:
		return v + uint64(s.rnd.IntN(3)) - 1
	case 2:
		return 1 << s.rnd.IntN(64)
	case 3:
		return v + uint64(s.rnd.IntN(40)) - 20
	case 4:
		return v + 4096<<s.rnd.IntN(9) + uint64(s.rnd.IntN(3)) - 1
	case 5:
		return ^uint64(0) - uint64(s.rnd.IntN(3))
	case 6:
		return v + uint64(s.rnd.IntN(1<<16))
	}
	return 0
}

// frames are such as might be sent.
func (s *scribbler) frames() (b []byte) {
	for range 1 + s.rnd.IntN(4) {
		body := make([]byte, s.rnd.IntN(60))
		for i := range body {
			body[i] = byte(s.rnd.Uint32() >> s.rnd.IntN(24))
		}
		switch s.rnd.IntN(8) {
		case 0:
			b = msg.AppendFrame(b, byte(s.rnd.IntN(10)), s.rnd.IntN(2), body)
		case 1: // a buffer in a segment
			b = msg.AppendFrame(b, 1, 1, msg.AppendRef(nil, s.rnd.IntN(1<<17), uint32(s.rnd.IntN(5))))
		case 2: // a release or a retire
			b = msg.AppendFrame(b, byte(4+s.rnd.IntN(2)), 0, binary.LittleEndian.AppendUint32(nil, uint32(s.rnd.IntN(5))))
		case 3:
			b = msg.AppendFrame(b, 128+byte(s.rnd.IntN(128)), 0, body)
		default:
			b = msg.AppendFrame(b, 1, 0, body)
		}
	}
	return b
}

// fill writes bytes to b from at on. The hostile program's own Channel may write there too, which is no race that matters.
//
//go:norace
func (s *scribbler) fill(b []byte, at, n int) {
	for ; n > 0 && at < len(b); n, at = n-1, at+1 {
		b[at] = byte(n)
	}
}

//go:norace
func put(b []byte, at int, c byte) { b[at] = c }

// within waits for done, and fails with all stacks where that takes too long.
func within(t *testing.T, d time.Duration, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(d):
		b := make([]byte, 1<<20)
		t.Fatalf("%s, %v on:\n%s", what, d, b[:runtime.Stack(b, true)])
	}
}

// finally is what is done while somebody waits for it.
func finally(fn func()) <-chan struct{} {
	done := make(chan struct{})
	go func() { fn(); close(done) }()
	return done
}

// anEnd says whether err is one that a hostile peer may bring about.
func anEnd(err error) bool {
	var pe *msg.ProtocolError
	return errors.As(err, &pe) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.EPIPE)
}

// hostileEnd ends a connection in one of the ways that there are.
func hostileEnd(rnd *rand.Rand, evil *msg.Channel, victim io.Closer) {
	switch rnd.IntN(4) {
	case 0, 1: // as if it had been killed
		evil.Conn().Close()
	case 2:
		evil.Close()
		return
	case 3:
		victim.Close()
	}
}

// TestHostileRing has a Channel for its victim.
func TestHostileRing(t *testing.T) {
	if aside(t) {
		return
	}
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	hostileRounds(t, func(t *testing.T, rnd *rand.Rand) {
		c, err := standpipe.Dial(t.Context(), name, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if rnd.IntN(2) == 0 {
			c, s = s.(*standpipe.Conn), c
		}
		hostileChannels(t, rnd, msg.New(c, &msg.Config{Ring: msg.RingOn, MaxShared: 8 << 20}), msg.New(s, &msg.Config{Ring: msg.RingOn, MaxShared: 8 << 20}))
	})
}

func hostileChannels(t *testing.T, rnd *rand.Rand, evil, victim *msg.Channel) {
	defer evil.Close()
	var ours, its sync.WaitGroup
	seeds := [4]uint64{rnd.Uint64(), rnd.Uint64(), rnd.Uint64(), rnd.Uint64()}
	mute := rnd.IntN(3) == 0 // it reads nothing, from some time on
	ours.Go(func() { receiveAll(t, victim, rand.New(rand.NewPCG(seeds[0], 1))) })
	ours.Go(func() { sendAll(t, victim, rand.New(rand.NewPCG(seeds[1], 2)), true) })
	if mute {
		its.Go(func() {
			for !evil.HasRing() {
				if m, err := evil.Recv(); err != nil {
					return
				} else if len(m.Buffers) > 0 {
					m.Buffers[0].Release()
				}
			}
		})
	} else {
		its.Go(func() { receiveAll(t, evil, rand.New(rand.NewPCG(seeds[2], 3))) })
		its.Go(func() { sendAll(t, evil, rand.New(rand.NewPCG(seeds[3], 4)), false) })
	}
	awaitRing(t, evil)
	s := &scribbler{rnd: rnd, evil: evil, mood: moodOf(rnd)}
	time.AfterFunc(time.Duration(rnd.IntN(30000))*time.Microsecond, func() { s.done.Store(true) })
	s.run()
	hostileEnd(rnd, evil, victim)
	within(t, 5*time.Second, "the victim goes on without its peer", finally(ours.Wait))
	within(t, 5*time.Second, "Close does not return", finally(func() { victim.Close() }))
	evil.Conn().Close() // or its last words would take a second
	within(t, 5*time.Second, "the hostile side's own Close does not return", finally(func() { evil.Close(); its.Wait() }))
}

func moodOf(rnd *rand.Rand) uint32 {
	mood := rnd.Uint32()
	if rnd.IntN(2) == 0 { // nothing that ends the connection by itself
		mood &= 1<<2 | 1<<5 | 1<<6 | 1<<8
	}
	return mood
}

func awaitRing(t *testing.T, ch *msg.Channel) {
	t.Helper()
	for start := time.Now(); !ch.HasRing(); time.Sleep(50 * time.Microsecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatal("there is no ring")
		}
	}
}

// receiveAll receives to the end, looks at all that comes, and keeps some Buffers for a while.
func receiveAll(t *testing.T, ch *msg.Channel, rnd *rand.Rand) {
	var kept []msg.Buffer
	for {
		m, err := ch.Recv()
		if look(m.Data); err != nil {
			if !anEnd(err) {
				t.Errorf("Recv: %T %v", err, err)
			}
			break
		}
		for _, b := range m.Buffers {
			if look(b.Bytes()); len(kept) < 4 && rnd.IntN(2) == 0 {
				kept = append(kept, b)
			} else {
				b.Release()
			}
		}
		if len(kept) > 0 && rnd.IntN(8) == 0 {
			kept[0].Release()
			kept = kept[1:]
		}
	}
	for _, b := range kept { // they outlive the connection
		look(b.Bytes())
		b.Release()
	}
}

// sendAll sends messages and Buffers to the end, each for a while only.
func sendAll(t *testing.T, ch *msg.Channel, rnd *rand.Rand, checked bool) {
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rnd.IntN(20))*time.Millisecond)
		err := sendOne(ctx, ch, rnd)
		end, _ := ctx.Deadline()
		cancel()
		if late := time.Since(end); late > 2*time.Second && checked {
			t.Errorf("Send returned %v after its context's end: %v", late, err)
		}
		switch {
		case err == nil, errors.Is(err, context.DeadlineExceeded): // of NewBuffer
		case errors.Is(err, msg.ErrTooLarge): // the peer's hello has not come
			time.Sleep(time.Millisecond)
		default:
			if checked && !anEnd(err) {
				t.Errorf("Send: %T %v", err, err)
			}
			return
		}
	}
}

func sendOne(ctx context.Context, ch *msg.Channel, rnd *rand.Rand) error {
	if rnd.IntN(4) > 0 {
		return ch.SendData(ctx, make([]byte, rnd.IntN(1<<rnd.IntN(18))))
	}
	b, err := ch.NewBuffer(ctx, 16<<10+rnd.IntN(1<<17))
	if err != nil {
		return err
	}
	b.Bytes()[0] = 1
	err = ch.SendBuffers(ctx, []msg.Buffer{b}, []byte("with a buffer"))
	b.Release() // where it was not sent
	return cmp.Or(err, ctx.Err())
}
