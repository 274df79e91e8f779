package msg_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/msg"
)

// transports are what Channels must run on. Those over endpoints are in transport_test.go.
var transports = map[string]func(t testing.TB) (net.Conn, net.Conn){
	"net.Pipe": func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() },
	"tcp":      tcpPair,
}

func tcpPair(t testing.TB) (net.Conn, net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func onAll(t *testing.T, test func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel))) {
	for name, mk := range transports {
		t.Run(name, func(t *testing.T) {
			test(t, func(ac, bc *msg.Config) (*msg.Channel, *msg.Channel) {
				a, b := mk(t)
				ca, cb := msg.New(a, ac), msg.New(b, bc)
				t.Cleanup(func() { ca.Close(); cb.Close() })
				return ca, cb
			})
		})
	}
}

// greet reads the hellos: TCP resets a connection that is closed with anything unread, and what was sent is lost then.
func greet(t *testing.T, a, b *msg.Channel) {
	t.Helper()
	done := make(chan error)
	go func() { _, err := a.Greet(); done <- err }()
	if _, err := b.Greet(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestSendRecv(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(nil, nil)
		greet(t, a, b)
		sizes := []int{0, 1, 100, 4095, 4096, 4097, 8192, 32<<10 - 1, 32 << 10, 64 << 10, 1<<20 + 7, 16 << 20}
		go func() {
			for _, n := range sizes {
				data := bytes.Repeat([]byte{byte(n)}, n)
				if err := a.Send(msg.Message{Data: data}); err != nil {
					t.Error(err)
				}
				clear(data) // it is ours again
			}
			a.Close()
		}()
		for _, n := range sizes {
			m, err := b.Recv()
			if err != nil {
				t.Fatal(n, err)
			}
			if !bytes.Equal(m.Data, bytes.Repeat([]byte{byte(n)}, n)) {
				t.Fatalf("%d bytes sent, %d received, or others", n, len(m.Data))
			}
		}
		for range 2 {
			if _, err := b.Recv(); err != io.EOF {
				t.Fatalf("after the last: %v", err)
			}
		}
		if err := b.Send(msg.Message{}); err == nil {
			t.Fatal("a Channel that has ended still sends")
		}
	})
}

// What one Recv returned is not overwritten by the next.
func TestRecvKeeps(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(nil, nil)
		go func() {
			for i := range 100 {
				a.Send(msg.Message{Data: []byte{byte(i)}})
			}
		}()
		var all [][]byte
		for range 100 {
			m, err := b.Recv()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, m.Data)
		}
		for i, data := range all {
			if len(data) != 1 || data[0] != byte(i) {
				t.Fatalf("message %d is now % x", i, data)
			}
		}
	})
}

// Many senders, one receiver each way: nothing is lost, torn or reordered within a sender.
func TestManySenders(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(nil, nil)
		const senders, each = 32, 200
		var wg sync.WaitGroup
		for _, ch := range []*msg.Channel{a, b} {
			for s := range senders {
				wg.Go(func() {
					for i := range each {
						data := fmt.Appendf(nil, "%d %d|%s", s, i, strings.Repeat("x", i*i))
						if err := ch.Send(msg.Message{Data: data}); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			other := map[*msg.Channel]*msg.Channel{a: b, b: a}[ch]
			wg.Go(func() {
				next := make([]int, senders)
				for range senders * each {
					m, err := other.Recv()
					if err != nil {
						t.Error(err)
						return
					}
					var s, i int
					head, tail, _ := bytes.Cut(m.Data, []byte("|"))
					fmt.Sscan(string(head), &s, &i)
					if next[s] != i || len(tail) != i*i {
						t.Errorf("sender %d: message %d with %d bytes, want %d", s, i, len(tail), next[s])
						return
					}
					next[s]++
				}
			})
		}
		wg.Wait()
	})
}

func TestBuffers(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(nil, nil)
		greet(t, a, b)
		sizes := []int{0, 5, 20 << 20, 1}
		var bufs []msg.Buffer
		for i, n := range sizes {
			buf, err := a.NewBuffer(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			copy(buf.Bytes(), pattern(i, n))
			bufs = append(bufs, buf)
		}
		go func() {
			if err := a.Send(msg.Message{Data: []byte("beside"), Buffers: bufs}); err != nil {
				t.Error(err)
			}
			for _, buf := range bufs {
				if buf.Len() > 0 && bytesOf(buf) != nil {
					t.Error("a Buffer that was sent still has its bytes")
				}
			}
			fresh, err := a.NewBuffer(t.Context(), 3)
			if err != nil {
				t.Error(err)
			}
			if err := a.Send(msg.Message{Buffers: []msg.Buffer{fresh, bufs[1]}}); !errors.Is(err, msg.ErrReleased) || len(fresh.Bytes()) != 3 {
				t.Errorf("a Buffer was sent twice: %v", err)
			}
			a.Send(msg.Message{Data: []byte("next")})
		}()
		m, err := b.Recv()
		if err != nil || string(m.Data) != "beside" || len(m.Buffers) != len(sizes) {
			t.Fatal(len(m.Data), len(m.Buffers), err)
		}
		for i, buf := range m.Buffers {
			if buf.Len() != sizes[i] || len(buf.Bytes()) != sizes[i] {
				t.Fatalf("buffer %d has %d bytes", i, buf.Len())
			}
			if !bytes.Equal(buf.Bytes(), pattern(i, buf.Len())) {
				t.Fatalf("buffer %d differs", i)
			}
			buf.Release()
			buf.Release()
			if bytesOf(buf) != nil || buf.Len() != sizes[i] {
				t.Fatal("a released Buffer has bytes, or forgot its length")
			}
		}
		if m, err := b.Recv(); err != nil || string(m.Data) != "next" {
			t.Fatal(string(m.Data), err)
		}
	})
}

// bytesOf is buf.Bytes, and nil also where that panics: with STANDPIPE_CHECK=1.
func bytesOf(buf msg.Buffer) (b []byte) {
	defer func() { recover() }()
	return buf.Bytes()
}

func pattern(i, n int) []byte { return bytes.Repeat([]byte{byte(i), 1, 2, 3, 5, 7, 11}, n/7+1)[:n] }

func TestLimits(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(&msg.Config{MaxMessage: 1 << 20, MaxShared: 100}, &msg.Config{MaxMessage: 64 << 10, MaxShared: -1})
		if err := a.Send(msg.Message{Data: make([]byte, 1<<20+1)}); !errors.Is(err, msg.ErrTooLarge) {
			t.Fatalf("above our own limit: %v", err)
		}
		if _, err := a.NewBuffer(t.Context(), 101); !errors.Is(err, msg.ErrTooLarge) {
			t.Fatalf("a Buffer above our own limit: %v", err)
		}
		go b.Send(msg.Message{Data: []byte("hello")})
		if _, err := a.Recv(); err != nil {
			t.Fatal(err)
		}
		if got := a.MaxMessage(); got != 64<<10 {
			t.Fatalf("the peer's limit is not known: %d", got)
		}
		if err := a.Send(msg.Message{Data: make([]byte, 64<<10+1)}); !errors.Is(err, msg.ErrTooLarge) {
			t.Fatalf("above the peer's limit: %v", err)
		}
		if _, err := a.NewBuffer(t.Context(), 1); !errors.Is(err, msg.ErrTooLarge) {
			t.Fatalf("a Buffer for a peer that takes none: %v", err)
		}
		go a.Send(msg.Message{Data: make([]byte, 64<<10)}) // the Channel is as good as before
		if m, err := b.Recv(); err != nil || len(m.Data) != 64<<10 {
			t.Fatal(len(m.Data), err)
		}
	})
}

// Until the peer's hello has come, no more goes out than everybody takes.
func TestBeforeHello(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(nil, nil)
		if err := a.Send(msg.Message{Data: make([]byte, 64<<10+1)}); !errors.Is(err, msg.ErrTooLarge) {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := a.NewBuffer(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		go a.Send(msg.Message{Data: make([]byte, 64<<10)})
		if m, err := b.Recv(); err != nil || len(m.Data) != 64<<10 {
			t.Fatal(len(m.Data), err)
		}
		greet(t, a, b)
		go a.Send(msg.Message{Data: make([]byte, 64<<10+1)})
		if m, err := b.Recv(); err != nil || len(m.Data) != 64<<10+1 {
			t.Fatal(len(m.Data), err)
		}
	})
}

// A large message is not kept back by small ones that never end.
func TestLargeAmongSmall(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(nil, nil)
		greet(t, a, b)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if a.Send(msg.Message{Data: make([]byte, 64)}) != nil {
							return
						}
					}
				}
			})
		}
		received := make(chan struct{})
		go func() {
			defer close(received)
			for i := 0; ; i++ {
				m, err := b.Recv()
				if err != nil || len(m.Data) == 1 {
					return
				}
				if i%64 == 0 {
					time.Sleep(20 * time.Microsecond) // a reader that is a little slower than the senders
				}
			}
		}()
		for range 5 {
			sent := make(chan error, 1)
			go func() { sent <- a.Send(msg.Message{Data: make([]byte, 1<<20)}) }()
			select {
			case err := <-sent:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("a large message waits for ever")
			}
		}
		close(stop)
		wg.Wait() // they may still need the reader
		a.Send(msg.Message{Data: []byte{1}})
		<-received
	})
}

func TestAbortIsHeard(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(nil, nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := a.Greet(); err != nil { // TCP throws away what is on its way if a has something unread
				t.Error(err)
			}
			a.Abort("enough \xff is enough")
		}()
		var pe *msg.ProtocolError
		if _, err := b.Recv(); !errors.As(err, &pe) || !pe.Remote || !strings.Contains(pe.Text, "enough") {
			t.Fatal(err)
		}
		<-done
		if _, err := a.Recv(); !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
			t.Fatal(err)
		}
	})
}

// Close ends a Recv that waits, and a Send whose peer does not read, within a second or so.
func TestCloseUnblocks(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, _ := pair(nil, nil)
		done := make(chan error, 8)
		go func() { _, err := a.Recv(); done <- err }()
		for range 4 {
			go func() {
				for {
					if err := a.Send(msg.Message{Data: make([]byte, 40<<10)}); err != nil {
						done <- err
						return
					}
				}
			}()
		}
		time.Sleep(50 * time.Millisecond) // for them to be blocked; nothing depends on it
		start := time.Now()
		a.Close()
		for range 5 {
			select {
			case err := <-done:
				if err == nil {
					t.Error("no error")
				}
			case <-time.After(5 * time.Second):
				t.Fatal("Close left somebody waiting")
			}
		}
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("Close took %v", d)
		}
	})
}

func TestCloseFlushes(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		for range 50 {
			a, b := pair(nil, nil)
			greet(t, a, b)
			const n = 64
			got := make(chan int)
			go func() {
				k := 0
				for {
					if _, err := b.Recv(); err != nil {
						got <- k
						return
					}
					k++
				}
			}()
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					if err := a.Send(msg.Message{Data: []byte("x")}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			a.Close()
			if k := <-got; k != n {
				t.Fatalf("%d of %d messages arrived before Close", k, n)
			}
		}
	})
}

func TestBadConfig(t *testing.T) {
	for _, cfg := range []msg.Config{
		{MaxMessage: 1}, {MaxMessage: -1}, {MaxShared: 1 << 33},
		{Keys: map[string]string{"Key": "v"}}, {Keys: map[string]string{"k": "a\nb"}},
		{Keys: map[string]string{"max-message": "1"}}, {Keys: map[string]string{"": ""}},
	} {
		a, b := net.Pipe()
		ch := msg.New(a, &cfg)
		if err := ch.Send(msg.Message{Data: []byte("hello")}); err == nil || errors.Is(err, msg.ErrTooLarge) {
			t.Errorf("%+v: Send says %v", cfg, err)
		}
		if _, err := ch.Recv(); err == nil {
			t.Errorf("%+v: Recv has no error", cfg)
		}
		b.Close()
	}
}

// A Channel in use sends and receives without allocating.
func TestNoAllocations(t *testing.T) {
	a, b := tcpPair(t)
	ca, cb := msg.New(a, nil), msg.New(b, nil)
	defer ca.Close()
	defer cb.Close()
	var m msg.Message
	m.Data = make([]byte, 0, 1<<10)
	data := make([]byte, 64)
	round := func() {
		if err := ca.Send(msg.Message{Data: data}); err != nil {
			t.Fatal(err)
		}
		if _, err := cb.RecvInto(&m); err != nil || len(m.Data) != 64 {
			t.Fatal(len(m.Data), err)
		}
	}
	round()
	round()
	if n := testing.AllocsPerRun(200, round); n >= 1 {
		t.Errorf("%v allocations for a message", n)
	}
}

// An interrupted Recv loses nothing, whether it waited between two messages or within one.
func TestInterrupt(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(nil, nil)
		greet(t, a, b)
		go func() {
			for i := range 200 {
				if err := a.Send(msg.Message{Data: pattern(i, i*1000)}); err != nil {
					t.Error(err)
				}
			}
		}()
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Microsecond):
					b.Interrupt()
				}
			}
		}()
		interrupts := 0
		for i := range 200 {
			m, err := b.Recv()
			for errors.Is(err, msg.ErrInterrupted) {
				interrupts++
				m, err = b.Recv()
			}
			if err != nil || !bytes.Equal(m.Data, pattern(i, i*1000)) {
				t.Fatalf("message %d: %d bytes, %v", i, len(m.Data), err)
			}
		}
		for {
			if _, err := b.Recv(); errors.Is(err, msg.ErrInterrupted) { // one that waits for nothing
				break
			}
		}
		t.Log(interrupts, "interrupts")
	})
}
