package msg

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

func half(area []byte, at int) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&area[at])) }

// ringers are two Channels whose streams both go through the ring.
func ringers(t *testing.T) (a, b *Channel) {
	t.Helper()
	return ringersWith(t, &Config{Ring: RingOn})
}

func ringersWith(t *testing.T, cfg *Config) (a, b *Channel) {
	t.Helper()
	a, b = sharers(t, cfg)
	for _, ch := range []*Channel{a, b} {
		if err := ch.Send(Message{Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	received := map[*Channel]bool{}                         // what was sent, which is nobody else's
	for !a.HasRing() || !b.HasRing() || len(received) < 2 { // who receives takes what it was sent of the ring
		for _, ch := range []*Channel{a, b} {
			time.AfterFunc(time.Millisecond, ch.Interrupt)
			_, err := ch.Recv()
			if err == nil {
				received[ch] = true
			} else if !errors.Is(err, ErrInterrupted) {
				t.Fatal(err)
			}
		}
	}
	return a, b
}

// A peer that asks for a bell each time and reads none holds up neither who rings, nor a Send, nor Close.
func TestDeafPeer(t *testing.T) {
	a, b := ringers(t)
	l := &link{a}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 30_000 {
			if err := l.Bell(); err != nil {
				t.Error(err)
				return
			}
		}
		ask := func() { // as who is parked, and was not rung for
			b.WithAreas(func(mine, _ []byte) { half(mine, 256).Store(half(mine, 256).Load() + 2 | 1) })
		}
		for range 50 {
			ask()
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
			if err := a.SendData(ctx, []byte("hello")); err != nil {
				t.Error(err)
			}
			cancel()
		}
		ask()
		a.Close()
		if err := a.Send(Message{}); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}()
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		t.Fatal("somebody waits for a peer who does not read")
	}
}

// A bell that could not be sent is sent when the peer reads again.
func TestOwedBell(t *testing.T) {
	a, b := ringers(t)
	for !a.sh.line.bells.full.Load() {
		if err := (&link{a}).Bell(); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		for {
			m, err := b.Recv()
			if errors.Is(err, ErrInterrupted) { // by ringers
				continue
			}
			if err != nil || string(m.Data) == "hello" {
				done <- err
				return
			}
		}
	}()
	parked := func() (odd bool) {
		b.WithAreas(func(mine, _ []byte) { odd = half(mine, 256).Load()&1 == 1 })
		return odd
	}
	for start := time.Now(); a.sh.line.bells.full.Load() || !parked(); time.Sleep(time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatal("it is still full, or the peer does not wait")
		}
	}
	if err := a.Send(Message{Data: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it was not woken")
	}
}

// goingOver are two Channels of which b has gone over to the ring. a has not heard of that: it is to send something, which b does not read.
func goingOver(t *testing.T) (a, b *Channel) {
	t.Helper()
	a, b = sharers(t, nil)
	a.sh.makeArea(a)
	if err := a.Send(Message{Data: []byte("with the area before it")}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Recv(); err != nil {
		t.Fatal(err)
	}
	until(t, "idle", a, func(w *writer) bool { return !w.writing && len(w.pending) == 0 })
	return a, b
}

// until waits for what the writer of ch is to come to.
func until(t *testing.T, what string, ch *Channel, is func(w *writer) bool) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		ch.w.mu.Lock()
		done := is(&ch.w)
		ch.w.mu.Unlock()
		if done {
			return
		}
		if time.Since(start) > 5*time.Second {
			t.Fatal("it is not", what)
		}
	}
}

func writing(w *writer) bool { return w.writing }
func next(w *writer) bool    { return w.next != nil }

func hearNil(t *testing.T, what string, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal(what, "still waits")
	}
}

// While this side's stream is on the connection yet, a bell does not come into the middle of a frame, also where that was broken off
// when its sender's context ended.
func TestBellBetweenFrames(t *testing.T) {
	a, b := goingOver(t)
	large := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)
	ctx, cancel := context.WithCancel(t.Context())
	sent, received, back := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { sent <- a.SendData(ctx, large) }()
	if resumes { // else the message is copied, and written later
		until(t, "writing", a, writing)
	}
	go func() { _, err := a.Recv(); received <- err }()
	go func() { back <- b.Send(Message{Data: make([]byte, 3<<20)}) }() // more than the ring holds: it asks for bells
	if resumes {
		until(t, "to go over", a, next)
	}
	time.AfterFunc(20*time.Millisecond, cancel)
	hearNil(t, "the sender", sent)
	m, err := b.Recv()
	if err != nil || !bytes.Equal(m.Data, large) {
		t.Fatalf("%d bytes came, the same: %v, %v", len(m.Data), bytes.Equal(m.Data, large), err)
	}
	hearNil(t, "the receiver", received)
	hearNil(t, "the peer's sender", back)
}

// Who is to go over while it writes does so when that is done, with nothing else to send.
func TestGoesOverAlone(t *testing.T) {
	a, b := goingOver(t)
	sent := make(chan error, 1)
	go func() { sent <- a.Send(Message{Data: make([]byte, 4<<20)}) }()
	until(t, "writing", a, writing)
	go a.Recv()
	until(t, "to go over", a, next)
	if _, err := b.Recv(); err != nil {
		t.Fatal(err)
	}
	hearNil(t, "the sender", sent)
	until(t, "over", a, func(w *writer) bool { return w.ring != nil })
}

// Who only sends hears of the peer's end, too, also where the ring is full and nobody reads the connection.
func TestSenderAlone(t *testing.T) {
	a, b := goingOver(t)
	until(t, "over", b, func(w *writer) bool { return w.ring != nil && !w.writing })
	sent := make(chan error, 1)
	go func() { sent <- b.Send(Message{Data: make([]byte, 4<<20)}) }()
	until(t, "waiting for room", b, func(*writer) (waits bool) {
		b.WithAreas(func(mine, _ []byte) { waits = half(mine, 384).Load() > 0 })
		return waits
	})
	a.Conn().Close() // as if it had been killed
	select {
	case err := <-sent:
		if !peerGone(err) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it waits on")
	}
}

// A lie that only the writer sees is what Recv tells, too.
func TestLieToWriter(t *testing.T) {
	a, b := ringers(t)
	received := make(chan error, 1)
	go func() {
		for {
			if _, err := a.Recv(); err != nil && !errors.Is(err, ErrInterrupted) {
				received <- err
				return
			}
		}
	}()
	b.WithAreas(func(mine, _ []byte) { half(mine, 128).Store(1 << 30) }) // it has read so much
	err := a.Send(Message{Data: make([]byte, 1<<20)})
	for _, err := range []error{err, <-received} {
		var pe *ProtocolError
		if !errors.As(err, &pe) || pe.Remote {
			t.Errorf("%T %v", err, err)
		}
	}
}
