package msg

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// What goes over the connection beside the ring, and what waits for it.

// receive is Recv for those whom ringers may have left an interrupt.
func receive(ch *Channel) (Message, error) {
	for {
		if m, err := ch.Recv(); !errors.Is(err, ErrInterrupted) {
			return m, err
		}
	}
}

// A message that Send has accepted arrives, though Close comes before its new segment was announced.
func TestCloseBehindAnnouncement(t *testing.T) {
	for _, procs := range []int{1, 2} {
		func() {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			for i := range 50 {
				a, b := ringers(t)
				got := make(chan error, 1)
				go func() {
					m, err := receive(b)
					if err == nil && len(m.Buffers) != 1 {
						err = fmt.Errorf("%q has %d Buffers", m.Data, len(m.Buffers))
					}
					for _, b := range m.Buffers {
						b.Release()
					}
					got <- err
				}()
				buf, err := a.NewBuffer(t.Context(), 64<<10)
				if err != nil {
					t.Fatal(err)
				}
				if err := a.Send(Message{Data: []byte("last"), Buffers: []Buffer{buf}}); err != nil {
					t.Fatal(err)
				}
				a.Close()
				if err := <-got; err != nil {
					t.Fatalf("message %d, with %d processors, was accepted and is lost: %v", i, procs, err)
				}
				b.Close()
			}
		}()
	}
}

// blocked is a Channel with an announcement that waits for the connection, which its peer does not read, and who asks for a bell.
func blocked(t *testing.T) (a, b *Channel) {
	a, b = ringers(t)
	a.c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	for err := error(nil); err == nil; {
		_, err = a.c.Write(bell)
	}
	a.c.SetWriteDeadline(time.Time{})
	buf, err := a.NewBuffer(t.Context(), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(buf.Release)
	time.Sleep(20 * time.Millisecond)
	b.WithAreas(func(mine, _ []byte) { half(mine, 256).Store((half(mine, 256).Load() | 3) + 1 + 1) })
	return a, b
}

func within(t *testing.T, most time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { f(); close(done) }()
	select {
	case <-done:
	case <-time.After(most):
		t.Errorf("%s hangs", what)
	}
}

// A bell does not wait for an announcement that is under way, which may last for ever.
func TestBellBehindAnnouncement(t *testing.T) {
	a, b := blocked(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	within(t, 5*time.Second, "Send", func() { a.SendData(ctx, []byte("hello")) })
	b.c.Close() // or a hung Send would hang the test
}

// Nor does a Send that waits for room, and Close.
func TestCloseWhileDeaf(t *testing.T) {
	a, b := blocked(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	within(t, 5*time.Second, "Send", func() { a.SendData(ctx, make([]byte, 2<<20)) })
	within(t, 5*time.Second, "Close", func() { a.Close() })
	b.c.Close()
}

// Where a message is not sent, those of its Buffers that come behind the one that failed are free again, too.
func TestBuffersBehindFailure(t *testing.T) {
	a, _ := sharers(t, &Config{MaxShared: 2 << 20})
	own, err := a.NewBuffer(t.Context(), 1<<20)
	if err != nil || !own.Shared() {
		t.Fatal(err)
	}
	rest, err := a.NewBuffer(t.Context(), 1<<20) // the limit is used up: what is foreign goes in pieces
	if err != nil {
		t.Fatal(err)
	}
	foreign := privateBuffer(make([]byte, 512<<10))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.SendBuffers(ctx, []Buffer{foreign, own}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	rest.Release()
	own.Release()
	if n := freeOnes(a); n != 2 {
		t.Errorf("%d of 2 segments are free again", n)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	whole, err := a.NewBuffer(ctx, 2<<20)
	if err != nil {
		t.Error(err)
	}
	whole.Release()
}

// The peer has sent a Buffer and closed: that arrives, though this side has meanwhile announced a segment in vain.
func TestAnnouncedInVain(t *testing.T) {
	a, b := ringers(t)
	buf, err := b.NewBuffer(t.Context(), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // it is announced
	if err := b.Send(Message{Data: []byte("last"), Buffers: []Buffer{buf}}); err != nil {
		t.Fatal(err)
	}
	b.Close()
	own, err := a.NewBuffer(t.Context(), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Release()
	time.Sleep(20 * time.Millisecond)
	m, err := receive(a)
	if err != nil || string(m.Data) != "last" {
		t.Fatalf("the peer's last message is lost: %q, %v", m.Data, err)
	}
	m.Buffers[0].Release()
}
