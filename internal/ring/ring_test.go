package ring

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// link is a connection between two goroutines: bells, and an end.
type link struct {
	in, out chan struct{} // as many bells as a socket's buffer holds
	pokes   chan struct{}
	end     chan struct{} // closed: the connection has ended
	busy    atomic.Bool
}

func (l *link) Wait() error {
	if l.busy.Swap(true) {
		panic("two wait at once")
	}
	defer l.busy.Store(false)
	select {
	case <-l.in:
	case <-l.pokes:
	case <-l.end:
		return io.EOF
	}
	return nil
}

func (l *link) Poke() {
	select {
	case l.pokes <- struct{}{}:
	default:
	}
}

func (l *link) Bell() error {
	select {
	case <-l.end:
		return io.ErrClosedPipe
	case l.out <- struct{}{}:
		return nil
	}
}

func area(room int) []byte {
	words := make([]uint64, (Head+room)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), Head+room)
}

// pair is two sides in one process, so that the race detector sees what each does.
func pair(t testing.TB, room int) (a, b *Ring, la, lb *link) {
	t.Helper()
	ab, ba, end := make(chan struct{}, 256), make(chan struct{}, 256), make(chan struct{})
	la = &link{in: ba, out: ab, pokes: make(chan struct{}, 1), end: end}
	lb = &link{in: ab, out: ba, pokes: make(chan struct{}, 1), end: end}
	one, two := area(room), area(room)
	a, err := New(la, one, two)
	if err != nil {
		t.Fatal(err)
	}
	b, err = New(lb, two, one)
	if err != nil {
		t.Fatal(err)
	}
	a.Hear()
	b.Hear()
	if Futexes && t.Name() != "TestLateBell" {
		a.Nap()
		b.Nap()
	}
	return a, b, la, lb
}

// noise is bytes that can be checked anywhere.
func noise(at int64, p []byte) {
	for i := range p {
		n := uint64(at) + uint64(i)
		p[i] = byte(n ^ n>>8*7 ^ n>>16)
	}
}

func send(r *Ring, total int64, rnd *rand.Rand, most int) error {
	p := make([]byte, most)
	for at := int64(0); at < total; {
		n := min(int64(1+rnd.IntN(most)), total-at)
		noise(at, p[:n])
		if rnd.IntN(4) == 0 {
			ok, err := r.TryWrite(p[:n/3], [][]byte{p[n/3 : n/2], p[n/2 : n]})
			if err != nil {
				return err
			}
			if ok {
				at += n
				if (at == total || rnd.IntN(3) > 0) && r.Publish() { // or what comes next has to
					r.link.Bell()
				}
				continue
			}
		}
		if k, err := r.Write(p[:n]); int64(k) != n || err != nil {
			return fmt.Errorf("%d of %d, %w", k, n, err)
		}
		if at += n; rnd.IntN(64) == 0 {
			time.Sleep(time.Duration(rnd.IntN(200)) * time.Microsecond)
		}
	}
	return nil
}

func receive(r *Ring, total int64, rnd *rand.Rand, most int) error {
	p, want := make([]byte, most), make([]byte, most)
	for at := int64(0); at < total; {
		n, err := r.Read(p[:1+rnd.IntN(most)])
		if err != nil {
			return fmt.Errorf("at %d: %w", at, err)
		}
		noise(at, want[:n])
		if !bytes.Equal(p[:n], want[:n]) {
			return fmt.Errorf("other bytes came at %d", at)
		}
		if at += int64(n); rnd.IntN(64) == 0 {
			time.Sleep(time.Duration(rnd.IntN(200)) * time.Microsecond)
		}
	}
	return nil
}

// Streams both ways at once, in rooms so small that both sides wait all the time, and in large ones.
func TestStream(t *testing.T) {
	for _, c := range []struct {
		room, most int
		total      int64
	}{{Least, 3, 20_000}, {Least, 100, 500_000}, {Least, 10_000, 4 << 20}, {64 << 10, 100_000, 32 << 20}, {1 << 20, 4 << 20, 128 << 20}} {
		t.Run(fmt.Sprint(c.room, " ", c.most), func(t *testing.T) {
			a, b, _, _ := pair(t, c.room)
			var wg sync.WaitGroup
			for i, job := range []func(rnd *rand.Rand) error{
				func(rnd *rand.Rand) error { return send(a, c.total, rnd, c.most) },
				func(rnd *rand.Rand) error { return receive(b, c.total, rnd, c.most) },
				func(rnd *rand.Rand) error { return send(b, c.total, rnd, c.most) },
				func(rnd *rand.Rand) error { return receive(a, c.total, rnd, c.most) },
			} {
				wg.Go(func() {
					if err := job(rand.New(rand.NewPCG(1, uint64(i)))); err != nil {
						t.Error(i, err)
					}
				})
			}
			wg.Wait()
		})
	}
}

// Before the peer's stream has left the connection, nobody reads that: the writer looks on its own, until End.
func TestDeaf(t *testing.T) {
	a, b, _, _ := pair(t, Least)
	a.hears.Store(false)
	done := make(chan error, 1)
	go func() { _, err := a.Write(make([]byte, 3*Least)); done <- err }()
	if _, err := io.ReadFull(b, make([]byte, 3*Least)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	go func() { _, err := a.Write(make([]byte, 3*Least)); done <- err }()
	time.Sleep(10 * time.Millisecond)
	a.End(io.EOF)
	select {
	case err := <-done:
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it waits on")
	}
}

// With pauses in which both sides park, each message is heard of all the same.
func TestParked(t *testing.T) {
	a, b, _, _ := pair(t, Least)
	go func() {
		p := make([]byte, 8)
		for {
			n, err := b.Read(p)
			if err != nil {
				return
			}
			if _, err := b.Write(p[:n]); err != nil {
				return
			}
		}
	}()
	p := make([]byte, 8)
	for i := range 200 {
		if i%20 == 0 {
			time.Sleep(time.Millisecond)
		}
		if _, err := a.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		if n, err := a.Read(p); n != 1 || p[0] != byte(i) || err != nil {
			t.Fatal(i, n, p[0], err)
		}
	}
	b.Close()
	a.link.Bell()
}

// A bell that comes late, for what was read already, does not use up the one for what comes next.
func TestLateBell(t *testing.T) {
	a, b, _, _ := pair(t, Least)
	parked := func() uint32 {
		for {
			if e := b.mine.parked.Load(); e&1 == 1 {
				return e
			}
			time.Sleep(time.Millisecond)
		}
	}
	read := make(chan int)
	go func() {
		n, _ := b.Read(make([]byte, 8))
		read <- n
	}()
	e := parked()
	if !a.owed() {
		t.Fatal("it is not to be rung for")
	}
	a.link.Bell()
	for end := time.Now().Add(5 * time.Second); parked() == e && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	a.Write([]byte("x"))
	select {
	case n := <-read:
		if n != 1 {
			t.Fatal(n)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it was not woken")
	}
}

func TestInterrupt(t *testing.T) {
	a, b, _, _ := pair(t, Least)
	for range 3 {
		time.AfterFunc(5*time.Millisecond, func() { a.Interrupt(true) })
		if n, err := a.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(n, err)
		}
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("it was forgotten:", err)
		}
		a.Interrupt(false)
		b.Write([]byte("x"))
		if n, err := a.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
}

func TestWriteDeadline(t *testing.T) {
	a, b, _, _ := pair(t, Least)
	a.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	n, err := a.Write(make([]byte, 2*Least))
	if n != Least || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(n, err)
	}
	a.SetWriteDeadline(time.Time{})
	done := make(chan error)
	go func() { _, err := a.Write(make([]byte, Least)); done <- err }()
	time.Sleep(10 * time.Millisecond)
	a.SetWriteDeadline(time.Unix(1, 0))
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if k, err := io.ReadFull(b, make([]byte, n)); err != nil {
		t.Fatal(k, err)
	}
}

// What was written before the end is read after it.
func TestEnd(t *testing.T) {
	a, b, la, _ := pair(t, Least)
	a.Write([]byte("last"))
	close(la.end)
	p := make([]byte, 2)
	for _, want := range []string{"la", "st"} {
		if n, err := b.Read(p); string(p[:n]) != want || err != nil {
			t.Fatalf("%q, %v", p[:n], err)
		}
	}
	for range 2 {
		if _, err := b.Read(p); err != io.EOF {
			t.Fatal(err)
		}
	}
	if n, err := a.Write(make([]byte, 2*Least)); n >= 2*Least || !errors.Is(err, io.ErrClosedPipe) {
		t.Fatal(n, err)
	}
}

func TestClose(t *testing.T) {
	a, _, _, _ := pair(t, Least)
	read, wrote := make(chan error), make(chan error)
	go func() { _, err := a.Read(make([]byte, 1)); read <- err }()
	go func() { _, err := a.Write(make([]byte, 2*Least)); wrote <- err }()
	time.Sleep(10 * time.Millisecond)
	a.Close()
	if err := <-wrote; !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if _, err := a.Write(make([]byte, 2*Least)); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
}

// The window grows for what is large, and shrinks again, so that an idle connection keeps few pages.
func TestWindow(t *testing.T) {
	a, b, _, _ := pair(t, 1<<20)
	move := func(n int) {
		t.Helper()
		done := make(chan struct{})
		go func() {
			a.Write(make([]byte, n))
			close(done)
		}()
		if _, err := io.ReadFull(b, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		<-done
	}
	if move(100); a.window != small {
		t.Errorf("it begins with %d", a.window)
	}
	if move(100_000); a.window != 1<<20 {
		t.Errorf("%d after a large message", a.window)
	}
	for range 2 * calm {
		move(100)
	}
	if a.window != small {
		t.Errorf("%d after many small ones", a.window)
	}
}

// Whatever the peer writes to its area, this side returns bytes or an error, and stays within its memory.
func TestHostile(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	odd := func() uint64 {
		switch rnd.IntN(5) {
		case 0:
			return rnd.Uint64()
		case 1:
			return ^uint64(0) - uint64(rnd.IntN(3))
		case 2:
			return uint64(1) << rnd.IntN(64)
		}
		return uint64(rnd.IntN(3 * Least))
	}
	for range rounds {
		a, b, la, _ := pair(t, Least)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		evil := b.mine // the peer is not bound to anything
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case la.in <- struct{}{}:
				default:
				}
				switch rnd.IntN(5) {
				case 0:
					evil.head.Store(odd())
				case 1:
					evil.window.Store(odd())
				case 2:
					evil.tail.Store(odd())
				case 3:
					evil.parked.Store(rnd.Uint32())
				case 4:
					evil.waiting.Store(rnd.Uint32())
				}
			}
		})
		wg.Go(func() {
			for range la.out { // its bells
			}
		})
		a.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
		var ours sync.WaitGroup
		ours.Go(func() {
			p := make([]byte, 100+Least)
			for range 50 {
				if n, err := a.Read(p); n > len(p) || err != nil && !errors.Is(err, ErrBroken) && !errors.Is(err, net.ErrClosed) {
					t.Error(n, err)
				} else if err != nil {
					return
				}
			}
		})
		ours.Go(func() {
			for range 50 {
				if _, err := a.Write(make([]byte, 700)); err != nil {
					if !errors.Is(err, ErrBroken) && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
						t.Error(err)
					}
					return
				}
			}
		})
		time.AfterFunc(8*time.Millisecond, a.Close)
		ours.Wait()
		close(stop)
		close(la.out)
		wg.Wait()
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	x, y, _, _ := pair(b, 64<<10)
	go func() {
		p := make([]byte, 64)
		for {
			if _, err := io.ReadFull(y, p); err != nil {
				return
			}
			y.Write(p)
		}
	}()
	p := make([]byte, 64)
	for b.Loop() {
		x.Write(p)
		io.ReadFull(x, p)
	}
	y.Close()
	x.link.Bell()
}

func BenchmarkStream(b *testing.B) {
	x, y, _, _ := pair(b, 1<<20)
	p := make([]byte, 1<<20)
	b.SetBytes(1 << 20)
	go func() {
		for {
			if _, err := x.Write(p); err != nil {
				return
			}
		}
	}()
	q := make([]byte, 1<<20)
	for b.Loop() {
		io.ReadFull(y, q)
	}
	x.Close()
}

// What one end writes before it sends, the other may read after it has received, and the race detector agrees.
func TestHappensBefore(t *testing.T) {
	a, b, _, _ := pair(t, Least)
	x := 0
	go func() {
		x++
		a.Write([]byte("x"))
	}()
	if _, err := b.Read(make([]byte, 1)); err != nil || x != 1 {
		t.Error(x, err)
	}
}
