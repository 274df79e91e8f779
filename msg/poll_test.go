package msg

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/internal/mem"
)

// arrived waits until something has come through ch's ring.
func arrived(t *testing.T, ch *Channel) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ch.Arrived(); time.Sleep(10 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatal("nothing comes")
		}
	}
}

// write writes to the ring of ch what may be no frame.
func write(ch *Channel, b []byte) {
	ch.w.mu.Lock()
	defer ch.w.mu.Unlock()
	ch.w.ring.TryWrite(b, nil)
	ch.w.ring.Publish()
}

// beside calls f again and again, beside its caller, until stop has returned. It has done so once when beside returns.
func beside(f func()) (stop func()) {
	begun, stopping, stopped := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		f()
		close(begun)
		for {
			select {
			case <-stopping:
				return
			default:
				f()
			}
		}
	}()
	<-begun
	return func() {
		close(stopping)
		<-stopped
	}
}

// Poll takes releases, and whole small messages are for RecvInto then, which need not wait; it leaves all else, and loses nothing.
func TestPoll(t *testing.T) {
	a, b := inRing(t)
	if a.Arrived() || a.Poll() || a.Buffered() {
		t.Fatal("there is something before anything was sent")
	}
	// What is released can be had again, and nobody has received anything.
	for i := range 10 {
		sendShared(t, a, b, 2<<20, byte(i)).Release()
		arrived(t, a)
		if a.Poll() || a.Arrived() || !free1(a) {
			t.Fatal("the release was not taken, or is a message")
		}
	}
	if a.sh.maker.last > 2 {
		t.Errorf("%d segments were made", a.sh.maker.last)
	}
	// Messages: small ones, a large one, one with a Buffer, in this order.
	large := bytes.Repeat([]byte("0123456789"), 20_000)
	for _, s := range []string{"one", "", "three"} {
		if err := b.SendData(t.Context(), []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	arrived(t, a)
	var m Message
	for _, want := range []string{"one", "", "three"} {
		if !a.Poll() || !a.Buffered() {
			t.Fatalf("there is no %q", want)
		}
		if _, err := a.RecvInto(&m); err != nil || string(m.Data) != want {
			t.Fatal(string(m.Data), err)
		}
	}
	if a.Poll() || a.Buffered() {
		t.Fatal("there are more than three")
	}
	for range 2 {
		sent := make(chan error, 1)
		go func() { sent <- b.SendData(t.Context(), large) }()
		arrived(t, a)
		for range 100 {
			if a.Poll() {
				t.Fatal("a large message does not make RecvInto wait")
			}
		}
		if memory, err := a.RecvInto(&m); err != nil || !bytes.Equal(m.Data, large) {
			t.Fatal(len(m.Data), err)
		} else {
			Free(memory)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
	buf, err := b.NewBuffer(t.Context(), 300_000)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SendBuffers(t.Context(), []Buffer{buf}, []byte("with")); err != nil {
		t.Fatal(err)
	}
	arrived(t, a)
	if a.Poll() {
		t.Fatal("what has a Buffer does not make RecvInto wait")
	}
	if m, err := a.Recv(); err != nil || string(m.Data) != "with" || m.Buffers[0].Len() != 300_000 {
		t.Fatal(m, err)
	} else {
		m.Buffers[0].Release()
	}
}

// A frame that has come in parts is left until all of it is there.
func TestPollParts(t *testing.T) {
	a, b := inRing(t)
	frame := append(appendHeader(nil, header{length: 5, kind: kindMessage}), "hello"...)
	for i := range frame {
		write(b, frame[i:i+1])
		arrived(t, a)
		if whole := i == len(frame)-1; a.Poll() != whole {
			t.Fatalf("with %d of %d bytes it says %v", i+1, len(frame), !whole)
		}
	}
	var m Message
	if _, err := a.RecvInto(&m); err != nil || string(m.Data) != "hello" {
		t.Error(string(m.Data), err)
	}
}

// What the peer must not send ends the connection when it is received, and says so, also where it was polled before.
func TestPollForged(t *testing.T) {
	for name, forge := range map[string]func(b *Channel){
		"release of what is unknown":     func(b *Channel) { b.w.tell(kindRelease, eager, 7) },
		"a kind that is not of the ring": func(b *Channel) { write(b, appendNumbers(nil, kindRetire, 9)) },
		"a frame that can't be":          func(b *Channel) { write(b, bytes.Repeat([]byte{0xff}, headerSize)) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := inRing(t)
			forge(b)
			arrived(t, a)
			a.Poll()
			var m Message
			_, err := a.RecvInto(&m)
			if pe := (*ProtocolError)(nil); !errors.As(err, &pe) || strings.TrimSpace(pe.Text) == "" {
				t.Errorf("%v", err)
			}
			if a.Poll() {
				t.Error("there is something behind it")
			}
		})
	}
}

// A list of releases that is wrong at its end frees nothing twice.
func TestPollForgedList(t *testing.T) {
	a, b := inRing(t)
	send := func() *made {
		buf, err := a.NewBuffer(t.Context(), 2<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.SendBuffers(t.Context(), []Buffer{buf}); err != nil {
			t.Fatal(err)
		}
		a.sh.maker.mu.Lock()
		defer a.sh.maker.mu.Unlock()
		for _, m := range a.sh.maker.all {
			if m.where == away {
				return m
			}
		}
		t.Fatal("it is not away")
		return nil
	}
	m := send()
	got, err := b.Recv()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Buffers[0].Release()
	b.w.tell(kindRelease, eager, m.number, 99)
	arrived(t, a)
	if !a.Poll() || !a.Arrived() || send() != m {
		t.Fatal("the error is not for RecvInto, or the memory was not free")
	}
	a.r.mu.Lock()
	a.r.message(&Message{})
	err = a.r.err
	a.r.mu.Unlock()
	if free1(a) || err == nil {
		t.Errorf("the memory that the peer has is free; %v", err)
	}
}

// Who looks before the hello has come keeps nobody from reading that.
func TestPollBeforeHello(t *testing.T) {
	if mem.Kind == "" {
		t.Skip("no memory is shared on this system")
	}
	for range 50 {
		x, y, err := standpipe.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		a, b := New(x, nil), New(y, nil)
		go b.Greet()
		stop := beside(func() {
			a.Arrived()
			a.Poll()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		buf, err := a.NewBuffer(ctx, 1<<20)
		if err != nil {
			t.Error(err)
		}
		buf.Release()
		cancel()
		stop()
		a.Close()
		b.Close()
	}
}

// Poll ends with the Channel, and beside Close it does no harm.
func TestPollBesideClose(t *testing.T) {
	for range 50 {
		a, b := inRing(t)
		stop := beside(func() {
			if a.Arrived() && a.Poll() {
				var m Message
				a.RecvInto(&m)
			}
		})
		go func() {
			for b.SendData(t.Context(), []byte("more")) == nil {
			}
		}()
		time.Sleep(time.Millisecond)
		a.Close()
		stop()
		if a.Poll() {
			t.Fatal("a Channel that has closed has a message")
		}
	}
}
