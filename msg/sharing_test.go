package msg

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/internal/mem"
	"github.com/standpipe/standpipe/internal/ring"
)

// sharers are two Channels, with their hellos exchanged, over what hands memory over.
func sharers(t *testing.T, cfg *Config) (a, b *Channel) {
	t.Helper()
	if mem.Kind == "" {
		t.Skip("no memory is shared on this system")
	}
	x, y, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	a, b = New(x, cfg), New(y, cfg)
	t.Cleanup(func() { a.Close(); b.Close() })
	greeted := make(chan error, 1)
	go func() { _, err := b.Greet(); greeted <- err }()
	if _, err := a.Greet(); err != nil {
		t.Fatal(err)
	}
	if err := <-greeted; err != nil {
		t.Fatal(err)
	}
	return a, b
}

// sendShared sends a Buffer of n bytes, all c, from one to the other.
func sendShared(t *testing.T, from, to *Channel, n int, c byte) Buffer {
	t.Helper()
	b, err := from.NewBuffer(t.Context(), n)
	if err != nil || !b.Shared() {
		t.Fatal(b.Shared(), err)
	}
	copy(b.Bytes(), bytes.Repeat([]byte{c}, n))
	if err := from.SendBuffers(t.Context(), []Buffer{b}); err != nil {
		t.Fatal(err)
	}
	m, err := to.Recv()
	if err != nil || len(m.Buffers) != 1 || !m.Buffers[0].Shared() || bytes.Count(m.Buffers[0].Bytes(), []byte{c}) != n {
		t.Fatal(m, err)
	}
	return m.Buffers[0]
}

// refer sends a message whose buffer is in a segment.
func refer(t *testing.T, ch *Channel, segment uint32, size int) {
	t.Helper()
	refs := appendRef(nil, ref{size: size, segment: segment})
	if err := ch.w.send(context.Background(), false, header{uint32(len(refs)), kindMessage, 1}, [][]byte{refs}); err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, ch *Channel, size int64, ring bool) error {
	t.Helper()
	k := &ch.sh.maker
	k.mu.Lock()
	defer k.mu.Unlock()
	m, err := k.create(size, ring)
	if err == nil {
		if ring {
			t.Cleanup(m.close)
		} else {
			k.all[m.number] = m
			m.where = away // no Buffer has it
		}
	}
	return err
}

// What a peer says of segments that can't be, ends the connection and says what it was; Buffers that are here stay.
func TestForgedSegments(t *testing.T) {
	const n = 100_000
	for name, c := range map[string]struct {
		forge func(t *testing.T, a, b *Channel)
		want  string
	}{
		"release of what is unknown": {func(t *testing.T, a, b *Channel) { a.w.tell(kindRelease, eager, 7) }, "releases segment 7"},
		"second release": {func(t *testing.T, a, b *Channel) {
			sendShared(t, b, a, n, 1).Release()
			a.w.tell(kindRelease, eager, 1)
		}, "releases segment 1"},
		"release of what was not sent": {func(t *testing.T, a, b *Channel) {
			got, err := b.NewBuffer(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(got.Release)
			a.w.tell(kindRelease, eager, 1)
		}, "releases segment 1"},
		"retire of what is unknown": {func(t *testing.T, a, b *Channel) { a.w.tell(kindRetire, eager, 9) }, "gives up segment 9"},
		"retire of what was sent": {func(t *testing.T, a, b *Channel) {
			got := sendShared(t, a, b, n, 5)
			t.Cleanup(func() {
				if bytes.Count(got.Bytes(), []byte{5}) != n {
					t.Error("it is gone")
				}
				got.Release()
			})
			a.w.tell(kindRetire, eager, 1)
		}, "gives up segment 1"},
		"reference to what is unknown": {func(t *testing.T, a, b *Channel) { refer(t, a, 3, n) }, "segment 3, which is not known"},
		"sent twice": {func(t *testing.T, a, b *Channel) {
			got := sendShared(t, a, b, n, 2)
			t.Cleanup(got.Release)
			refer(t, a, 1, n)
		}, "was sent before and is not released"},
		"larger than its segment": {func(t *testing.T, a, b *Channel) {
			if err := create(t, a, mem.Least, false); err != nil {
				t.Fatal(err)
			}
			refer(t, a, 1, mem.Least+1)
		}, "segment 1, which has"},
		"10,000 segments": {func(t *testing.T, a, b *Channel) {
			for i := range 10_000 {
				if err := create(t, a, mem.Least, false); err != nil {
					if i < mostSegments {
						t.Error(i, err)
					}
					return
				}
				if i%100 == 99 {
					a.w.flush()
				}
			}
		}, "more than 1024 segments"},
		"above MaxShared": {func(t *testing.T, a, b *Channel) {
			for range 3 {
				if err := create(t, a, 3<<20, false); err != nil {
					t.Error(err)
				}
			}
			a.w.flush()
		}, "above the limit of"},
		"an area of an odd size": {func(t *testing.T, a, b *Channel) {
			create(t, a, ring.Head+3*mem.Least, true)
			a.w.flush()
		}, "an area for a ring has"},
		"a second area": {func(t *testing.T, a, b *Channel) {
			create(t, a, ring.Head+ringRoom, true)
			create(t, a, ring.Head+ringRoom, true)
			a.w.flush()
		}, "a second area"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := sharers(t, &Config{MaxShared: 8 << 20})
			done := make(chan error, 1)
			time.AfterFunc(20*time.Second, func() { b.Close() })
			forge := make(chan struct{})
			go func() { // a is the forger: it may block when b hangs up
				defer close(forge)
				c.forge(t, a, b)
			}()
			if !strings.HasPrefix(name, "10,000") {
				<-forge
			}
			go func() { _, err := b.Recv(); done <- err }()
			err := <-done
			var pe *ProtocolError
			if !errors.As(err, &pe) || pe.Remote || !strings.Contains(pe.Text, c.want) {
				t.Errorf("%v, and not %q", err, c.want)
			}
			<-forge
		})
	}
}

// A receiver that never releases: NewBuffer waits, says who has the memory, and goes on with the first release.
func TestNeverReleased(t *testing.T) {
	a, b := sharers(t, &Config{MaxShared: 1 << 20})
	held := []Buffer{sendShared(t, a, b, 400_000, 1), sendShared(t, a, b, 400_000, 2)}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := a.NewBuffer(ctx, 400_000)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "in 2 buffers are with the peer") {
		t.Fatal(err)
	}
	go a.Recv() // releases are heard by who receives
	time.AfterFunc(5*time.Millisecond, held[0].Release)
	next, err := a.NewBuffer(t.Context(), 400_000)
	if err != nil || !next.Shared() {
		t.Fatal(err)
	}
	next.Release()
	if held[0].Release(); bytes.Count(held[1].Bytes(), []byte{2}) != 400_000 { // twice does no harm
		t.Error("what is held has changed")
	}
	held[1].Release()
}

// Memory is used again: many Buffers need few segments.
func TestReuse(t *testing.T) {
	a, b := sharers(t, nil)
	go a.Recv()
	for i := range 200 {
		sendShared(t, a, b, 1<<20, byte(i)).Release()
		for !free1(a) {
			time.Sleep(10 * time.Microsecond)
		}
	}
	if a.sh.maker.last > 2 { // one, and perhaps the ring's area
		t.Errorf("%d segments were made", a.sh.maker.last)
	}
}

func free1(ch *Channel) bool {
	ch.sh.maker.mu.Lock()
	defer ch.sh.maker.mu.Unlock()
	return len(ch.sh.maker.free) > 0
}

// A Buffer that is sent while the Channel closes leaves nothing behind: TestMain would find its memory.
func TestSentWhileClosing(t *testing.T) {
	a, b := sharers(t, nil)
	buffer, err := a.NewBuffer(t.Context(), 100_000)
	if err != nil || !buffer.take() {
		t.Fatal(err)
	}
	b.Close()
	a.Close()
	if err := a.sendTaken(t.Context(), []Buffer{buffer}, 0, nil); err == nil {
		t.Fatal("it was sent")
	}
	if buffer.m.made.mem.Bytes() != nil {
		t.Error("its memory is there still")
	}
}

// Where the peer has closed, the connection is still there after a Send that finds so: what the peer said last is to be received, and, on
// Windows, what it has not taken is to be taken back.
func TestPeerGoneInRing(t *testing.T) {
	a, b := sharers(t, &Config{Ring: RingOn})
	if err := b.SendData(t.Context(), []byte("behind b's area")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Recv(); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		a.w.mu.Lock()
		gone := a.w.ring != nil
		a.w.mu.Unlock()
		if gone {
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatal("the stream has not gone to the ring")
		}
	}
	a.sh.ring.Load().End(io.EOF)
	if err := a.SendData(t.Context(), []byte("hello")); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	if err := a.c.SetReadDeadline(time.Time{}); err != nil {
		t.Error("the connection is closed: ", err)
	}
}

// Buffered does not look itself, since Close may be reading what is left.
func TestBufferedBesideClose(t *testing.T) {
	a, b := sharers(t, nil)
	for range 2 {
		if err := a.Queue(t.Context(), []byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	a.Flush()
	if _, err := b.Recv(); err != nil || !b.Buffered() {
		t.Fatal(err)
	}
	b.r.mu.Lock()
	b.r.i = b.r.j
	if !b.Buffered() {
		t.Error("it looked")
	}
	b.leave()
}

// What comes with the hello is there for Buffered when Greet has returned.
func TestBufferedAfterGreet(t *testing.T) {
	x, y := net.Pipe()
	b := New(y, nil)
	defer b.Close()
	defer x.Close()
	go func() {
		h := hello{maxMessage: leastData}
		x.Write(appendHeader(h.append(nil), header{kind: kindMessage}))
		io.Copy(io.Discard, x)
	}()
	if _, err := b.Greet(); err != nil || !b.Buffered() {
		t.Error(err, b.Buffered())
	}
}

// inRing are sharers whose streams have gone to the ring.
func inRing(t *testing.T) (a, b *Channel) {
	t.Helper()
	a, b = sharers(t, &Config{Ring: RingOn})
	for i := 0; a.r.ring == nil || b.r.ring == nil; i++ {
		if i == 1000 {
			t.Fatal("no ring")
		}
		for _, ch := range []*Channel{a, b} {
			if err := ch.Send(Message{Data: []byte("more")}); err != nil {
				t.Fatal(err)
			}
		}
		for _, ch := range []*Channel{a, b} {
			if _, err := ch.Recv(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return a, b
}

// fillRing fills the ring of a with frames that mean nothing, and nobody writes then.
func fillRing(a *Channel) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	for _, n := range []uint32{4000, 0} {
		for ok := true; ok; {
			ok, _ = a.w.ring.TryWrite(appendHeader(nil, header{length: n, kind: kindIgnored}), [][]byte{make([]byte, n)})
		}
	}
	a.w.ring.Publish()
}

// Who queues with a context that has ended, and who flushes, does not wait for room in the ring: it may be the one who is to read, on both sides.
func TestFlushOfFullRing(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, queue := range map[string]func(a *Channel) error{
		"ended": func(a *Channel) error { return a.Queue(ended, []byte("last")) },
		"before": func(a *Channel) error {
			a.w.mu.Lock()
			defer a.w.mu.Unlock()
			a.w.pending = append(appendHeader(a.w.pending, header{length: 4, kind: kindMessage}), "last"...)
			a.w.joined++
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := inRing(t)
			fillRing(a)
			done := make(chan error, 1)
			go func() {
				err := queue(a)
				a.Flush()
				done <- err
			}()
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(5 * time.Second):
				t.Fatal("it waits for the peer")
			}
			if m, err := b.Recv(); err != nil || string(m.Data) != "last" {
				t.Error(string(m.Data), err)
			}
		})
	}
}

// When a Channel closes, an interrupt ends reading also where the ring has something: its peer may see to it that there is something always.
func TestInterruptOfLastReading(t *testing.T) {
	a, b := inRing(t)
	for range 3 {
		if err := a.Send(Message{Data: make([]byte, mostLent)}); err != nil {
			t.Fatal(err)
		}
	}
	b.interrupt()
	if m, err := b.Recv(); len(m.Data) != mostLent || err != nil { // an interrupt is for who waits
		t.Fatal(len(m.Data), err)
	}
	b.r.mu.Lock()
	defer b.leave()
	b.r.leaving.Store(true)
	var m Message
	for range 2 {
		b.r.message(&m)
	}
	if b.r.err != ErrInterrupted {
		t.Error(len(m.Data), b.r.err)
	}
}
