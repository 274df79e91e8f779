package msg_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/standpipe/standpipe/msg"
)

// A Send whose context ends while the peer does not read returns at once, and nothing is torn: what was sent arrives whole and
// in order, also from memory that was used again meanwhile.
func TestSendDataLeaves(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(nil, nil)
		greet(t, a, b)
		sizes := []int{3 << 20, 100, 300 << 10, 5, 1 << 20}
		for i, n := range sizes {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			data := pattern(i, n)
			began := time.Now()
			err := a.SendData(ctx, data[:n/3], nil, data[n/3:])
			if err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
			if d := time.Since(began); d > 5*time.Second {
				t.Fatalf("%d bytes: it took %v", n, d)
			}
			clear(data)
			cancel()
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := a.SendData(ended, []byte("last")); err != nil {
			t.Fatal(err)
		}
		for i, n := range sizes {
			m, err := b.Recv()
			if err != nil || !bytes.Equal(m.Data, pattern(i, n)) {
				t.Fatalf("message %d has %d bytes, not the %d that were sent, %v", i, len(m.Data), n, err)
			}
		}
		if m, err := b.Recv(); err != nil || string(m.Data) != "last" {
			t.Fatalf("%q, %v", m.Data, err)
		}
		if err := a.SendData(t.Context(), make([]byte, 17<<20)); !errors.Is(err, msg.ErrTooLarge) {
			t.Fatalf("17 MiB: %v", err)
		}
	})
}

// Many senders of which half leave: everything arrives, each sender's in order.
func TestSendDataStorm(t *testing.T) {
	const senders, each = 8, 60
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(nil, nil)
		greet(t, a, b)
		for s := range senders {
			go func() {
				for i := range each {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+i%7)*time.Millisecond)
					n := []int{1, 5000, 70 << 10, 400 << 10}[(s+i)%4]
					if err := a.SendData(ctx, []byte{byte(s), byte(i)}, pattern(s+i, n)); err != nil {
						t.Errorf("sender %d: %v", s, err)
					}
					cancel()
				}
			}()
		}
		var next [senders]int
		for k := range senders * each {
			if k%40 == 0 {
				time.Sleep(10 * time.Millisecond) // so that senders have to wait
			}
			m, err := b.Recv()
			if err != nil {
				t.Fatal(err)
			}
			s, i := int(m.Data[0]), int(m.Data[1])
			n := []int{1, 5000, 70 << 10, 400 << 10}[(s+i)%4]
			if next[s] != i || !bytes.Equal(m.Data[2:], pattern(s+i, n)) {
				t.Fatalf("sender %d: message %d of %d bytes came for number %d", s, i, len(m.Data), next[s])
			}
			next[s]++
		}
	})
}

// Each sender whose context ends costs memory for its own message only, however much of others' still waits.
func TestBrokenOffCopies(t *testing.T) {
	const messages, size = 48, 1 << 20
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(nil, nil)
		greet(t, a, b)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		data := pattern(1, size)
		for range messages {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if err := a.SendData(ctx, data); err != nil {
				t.Fatal(err)
			}
			cancel()
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 4*messages*size {
			t.Errorf("%d MiB were allocated for %d messages of 1 MiB that wait", used>>20, messages)
		}
		for i := range messages {
			if m, err := b.Recv(); err != nil || !bytes.Equal(m.Data, data) {
				t.Fatalf("message %d: %d bytes, %v", i, len(m.Data), err)
			}
		}
	})
}

func TestQueue(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(nil, nil)
		greet(t, a, b)
		got := make(chan string, 100)
		go func() {
			for {
				m, err := b.Recv()
				if err != nil {
					close(got)
					return
				}
				got <- string(m.Data)
			}
		}()
		// A write that is under way takes along what is queued; some time none is.
		only := false
		for try := 0; try < 50 && !only; try++ {
			time.Sleep(time.Duration(try) * time.Millisecond)
			for i := range 5 {
				if err := a.Queue(t.Context(), []byte("queued "), []byte{byte('0' + i)}); err != nil {
					t.Fatal(err)
				}
			}
			var first string
			select {
			case first = <-got:
			case <-time.After(20 * time.Millisecond):
				only = true
				a.Flush()
				first = <-got
			}
			a.Flush()
			for i := range 5 {
				if i > 0 {
					first = <-got
				}
				if first != fmt.Sprint("queued ", i) {
					t.Fatalf("%q came", first)
				}
			}
		}
		if !only {
			t.Fatal("Queue writes at once")
		}
		// The next Send takes along what is queued, and Close does.
		if err := errors.Join(a.Queue(t.Context(), []byte("one")), a.Send(msg.Message{Data: []byte("two")}), a.Queue(t.Context(), []byte("three"))); err != nil {
			t.Fatal(err)
		}
		a.Close()
		for _, want := range []string{"one", "two", "three", ""} {
			if s := <-got; s != want {
				t.Fatalf("%q came for %q", s, want)
			}
		}
	})
}

// What RecvInto gives away is not used again by the next message, and what it lends is right until then.
func TestRecvIntoMemory(t *testing.T) {
	onAll(t, func(t *testing.T, pair func(a, b *msg.Config) (*msg.Channel, *msg.Channel)) {
		a, b := pair(nil, nil)
		greet(t, a, b)
		sizes := []int{0, 1, 1000, 8 << 10, 8<<10 + 1, 64 << 10, 1 << 20, 5 << 20, 10, 1 << 20}
		go func() {
			for i, n := range sizes {
				a.Send(msg.Message{Data: pattern(i, n)})
			}
		}()
		type kept struct {
			i    int
			data []byte
		}
		var own []kept
		for i, n := range sizes {
			var m msg.Message
			memory, err := b.RecvInto(&m)
			if err != nil || !bytes.Equal(m.Data, pattern(i, n)) {
				t.Fatalf("message %d has %d bytes, not %d, %v", i, len(m.Data), n, err)
			}
			if memory != nil {
				own = append(own, kept{i, m.Data})
			}
		}
		if len(own) < 4 {
			t.Errorf("only %d messages had memory of their own", len(own))
		}
		for _, k := range own {
			if !bytes.Equal(k.data, pattern(k.i, len(k.data))) {
				t.Errorf("message %d was overwritten", k.i)
			}
		}
	})
}

func TestAllocFree(t *testing.T) {
	for _, n := range []int{0, 1, 4095, 4096, 4097, 64 << 10, 1<<20 + 1, 4 << 20, 4<<20 + 1, 20 << 20} {
		b := msg.Alloc(n)
		if len(b) != 0 || cap(b) < n {
			t.Fatalf("Alloc(%d) has %d of %d bytes", n, len(b), cap(b))
		}
		other := msg.Alloc(n)
		b, other = append(b, pattern(1, n)...), append(other, pattern(2, n)...)
		if !bytes.Equal(b, pattern(1, n)) {
			t.Fatalf("two pieces of %d bytes are one", n)
		}
		msg.Free(b)
		msg.Free(other)
	}
	msg.Free(nil)
	msg.Free(make([]byte, 10))
	msg.Free(make([]byte, 5000)[100:200:300])
}
