package standpipe

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bothEnds runs test for each end of a connection as its first.
func bothEnds(t *testing.T, cfg *ListenConfig, test func(t *testing.T, a, b *Conn)) {
	for _, name := range []string{"client", "server"} {
		t.Run(name, func(t *testing.T) {
			c, s := connected(t, cfg)
			if name == "client" {
				test(t, c, s)
			} else {
				test(t, s, c)
			}
		})
	}
}

func TestCloseKeepsData(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 3000)
	bothEnds(t, nil, func(t *testing.T, a, b *Conn) {
		if _, err := a.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if _, err := b.Write(data); !errors.Is(err, syscall.EPIPE) {
			t.Fatalf("write to who has gone: %v", err)
		}
		if n, err := b.Read(data); n != 0 || err != io.EOF {
			t.Fatalf("read behind the end: %d, %v", n, err)
		}
	})
}

// TestConnCloseEndsIO: a read and a write that wait.
func TestConnCloseEndsIO(t *testing.T) {
	for _, cfg := range []*ListenConfig{nil, {Messages: true}} {
		bothEnds(t, cfg, func(t *testing.T, a, _ *Conn) {
			var wg sync.WaitGroup
			for range 3 { // also those who wait for their turn
				wg.Go(func() {
					if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
						t.Error("read:", err)
					}
				})
				wg.Go(func() {
					if _, err := a.Write(make([]byte, 8<<20)); !errors.Is(err, net.ErrClosed) {
						t.Error("write:", err)
					}
				})
			}
			waitFlying(t, a)
			within(t, "Close", func() { a.Close(); wg.Wait() })
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Error("read after Close:", err)
			}
			if err := a.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
				t.Error("SetDeadline after Close:", err)
			}
			if err := a.Close(); !errors.Is(err, net.ErrClosed) {
				t.Error("second Close:", err)
			}
		})
	}
}

// flying says whether an operation of x is the kernel's.
func flying(x *half) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.flying
}

// waitFlying returns when a read and a write of c are the kernel's.
func waitFlying(t *testing.T, c *Conn) {
	t.Helper()
	end := time.Now().Add(10 * time.Second)
	for !flying(&c.end.r) || !flying(&c.end.w) {
		if time.Now().After(end) {
			t.Fatal("nothing is in flight")
		}
		runtime.Gosched()
	}
}

// TestAbortIsRemembered: a deadline cancels a read, and is moved before the read's goroutine has woken up. Read must say
// that its deadline had passed, not that it was closed; and go on afterwards.
func TestAbortIsRemembered(t *testing.T) {
	bothEnds(t, nil, func(t *testing.T, a, b *Conn) {
		for i := range 200 {
			got := make(chan error, 1)
			go func() { _, err := a.Read(make([]byte, 1)); got <- err }()
			for !flying(&a.end.r) {
				runtime.Gosched()
			}
			a.SetReadDeadline(time.Unix(1, 0))
			a.SetReadDeadline(time.Now().Add(time.Hour))
			if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("round %d: %v", i, err)
			}
		}
		a.SetReadDeadline(time.Time{})
		go b.Write([]byte("y"))
		if _, err := io.ReadFull(a, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	bothEnds(t, &ListenConfig{Buffer: 4096}, func(t *testing.T, a, b *Conn) {
		const pause = 50 * time.Millisecond
		start := time.Now()
		a.SetDeadline(start.Add(pause))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("read:", err)
		}
		if time.Since(start) < pause {
			t.Fatal("too early")
		}
		if _, err := a.Write(make([]byte, 8<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("write:", err)
		}
		a.SetWriteDeadline(time.Time{})
		a.SetReadDeadline(time.Now().Add(time.Hour))
		got := make(chan error, 1)
		go func() { _, err := a.Read(make([]byte, 1)); got <- err }()
		a.SetReadDeadline(time.Now().Add(pause)) // moves that of a read that waits already
		if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("read:", err)
		}
	})
}

// TestBufferOutlivesAbort: reads that deadlines abort, while garbage is collected and stacks move: what the kernel still
// writes must hit nobody else.
func TestBufferOutlivesAbort(t *testing.T) {
	c, s := connected(t, nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	wg.Go(func() {
		for i := byte(0); ; i++ {
			if _, err := s.Write(bytes.Repeat([]byte{i}, 100)); err != nil {
				return
			}
		}
	})
	for i := range 2000 {
		var b [512]byte // on the stack, if Read let it
		c.SetReadDeadline(time.Now().Add(time.Duration(i%50) * 10 * time.Microsecond))
		n, err := c.Read(b[:])
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		for _, x := range b[n:] {
			if x != 0 {
				t.Error("bytes behind those that were read")
				break
			}
		}
	}
	close(stop)
	c.Close()
	wg.Wait()
}

// TestBufferIsKept: while a read waits, nobody but the kernel knows its buffer; it must not be given to somebody else.
func TestBufferIsKept(t *testing.T) {
	const size, readers = 4096, 8
	var others [][]byte
	var wg sync.WaitGroup
	var ends []*Conn
	for range readers {
		c, s := connected(t, nil)
		wg.Go(func() { c.Read(make([]byte, size)) })
		for !flying(&c.end.r) {
			runtime.Gosched()
		}
		ends = append(ends, s)
	}
	for range 3 {
		runtime.GC()
	}
	for range 1000 {
		others = append(others, make([]byte, size))
	}
	for _, s := range ends {
		s.Write(bytes.Repeat([]byte{1}, size))
	}
	wg.Wait()
	for _, b := range others {
		if bytes.IndexByte(b, 1) >= 0 {
			t.Fatal("a read wrote into memory that is somebody else's by now")
		}
	}
}

// TestBigWrite goes in pieces, and in order.
func TestBigWrite(t *testing.T) {
	bothEnds(t, nil, func(t *testing.T, a, b *Conn) {
		data := make([]byte, 3*maxWrite+17)
		for i := range data {
			data[i] = byte(i * 7 >> 3)
		}
		go func() {
			if n, err := a.Write(data); n != len(data) || err != nil {
				t.Error(n, err)
			}
			a.Close()
		}()
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(data), err)
		}
	})
}

func TestNoBytes(t *testing.T) {
	for _, cfg := range []*ListenConfig{nil, {Messages: true}} {
		bothEnds(t, cfg, func(t *testing.T, a, b *Conn) {
			if n, err := a.Write(nil); n != 0 || err != nil {
				t.Fatal(n, err)
			}
			if n, err := b.Read(nil); n != 0 || err != nil {
				t.Fatal(n, err)
			}
			go a.Write([]byte("z"))
			if n, err := b.Read(make([]byte, 9)); n != 1 || err != nil {
				t.Fatalf("a write of no bytes was seen: %d, %v", n, err)
			}
		})
	}
}

// TestMessages: each Read is one message; what does not fit comes with the next Reads.
func TestMessages(t *testing.T) {
	bothEnds(t, &ListenConfig{Messages: true, Buffer: 64 << 10}, func(t *testing.T, a, b *Conn) {
		for _, m := range []string{"one", "two2", "three"} { // all are there before the first read
			if n, err := a.Write([]byte(m)); n != len(m) || err != nil {
				t.Fatal(n, err)
			}
		}
		buf := make([]byte, 100)
		for _, want := range []string{"one", "two2", "three"} {
			if n, err := b.Read(buf); string(buf[:n]) != want || err != nil {
				t.Fatalf("%q, %v, want %q", buf[:n], err, want)
			}
		}
		// Short reads, of messages that are there and of one that comes while the read waits.
		for _, early := range []bool{true, false} {
			big := bytes.Repeat([]byte("0123456789"), 25)
			sent := make(chan error, 1)
			go func() {
				if !early {
					for !flying(&b.end.r) {
						runtime.Gosched()
					}
				}
				_, err := a.Write(big)
				sent <- err
			}()
			if early {
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
			}
			for _, part := range []int{100, 100} {
				if n, err := b.Read(buf); n != part || !errors.Is(err, io.ErrShortBuffer) || !bytes.Equal(buf[:n], big[:n]) {
					t.Fatalf("early %v: %d %q, %v", early, n, buf[:n], err)
				}
			}
			if n, err := b.Read(buf); n != 50 || err != nil || !bytes.Equal(buf[:n], big[200:]) {
				t.Fatalf("early %v: the rest: %d, %v", early, n, err)
			}
		}
		// Exactly as long as the buffer, and longer than the kernel's.
		for _, size := range []int{100, 300 << 10} {
			m := bytes.Repeat([]byte("m"), size)
			go a.Write(m)
			got := make([]byte, size)
			if n, err := b.Read(got); n != size || err != nil || !bytes.Equal(got, m) {
				t.Fatalf("a message of %d: %d, %v", size, n, err)
			}
		}
		a.Write([]byte("last"))
		a.Close()
		if n, err := b.Read(buf); string(buf[:n]) != "last" || err != nil {
			t.Fatal(n, err)
		}
		if n, err := b.Read(buf); n != 0 || err != io.EOF {
			t.Fatal(n, err)
		}
	})
}

// TestMessagesBothWays: both directions at once, with short buffers, deadlines in between, and nothing lost or joined.
func TestMessagesBothWays(t *testing.T) {
	c, s := connected(t, &ListenConfig{Messages: true, Buffer: 1024})
	const rounds = 500
	var wg sync.WaitGroup
	for _, ends := range [][2]*Conn{{c, s}, {s, c}} {
		wg.Go(func() {
			for i := range rounds {
				if _, err := ends[0].Write(bytes.Repeat([]byte{byte(i)}, 1+i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			buf := make([]byte, 64)
			for i := range rounds {
				var m []byte
				for {
					ends[1].SetReadDeadline(time.Now().Add(time.Duration(1+i%7) * 100 * time.Microsecond))
					n, err := ends[1].Read(buf)
					m = append(m, buf[:n]...)
					if err == nil {
						break
					}
					if !errors.Is(err, io.ErrShortBuffer) && !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error(err)
						return
					}
				}
				if !bytes.Equal(m, bytes.Repeat([]byte{byte(i)}, 1+i)) {
					t.Errorf("message %d has %d bytes", i, len(m))
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestNoAllocation: a round trip of small writes and reads takes no memory.
func TestNoAllocation(t *testing.T) {
	c, s := connected(t, nil)
	out, in := make([]byte, 64), make([]byte, 64)
	trip := func() {
		if _, err := c.Write(out); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(in); err != nil {
			t.Fatal(err)
		}
	}
	trip()
	if n := testing.AllocsPerRun(100, trip); n > 0 {
		t.Errorf("%v allocations a trip", n)
	}
}
