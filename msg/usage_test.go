package msg

import (
	"context"
	"testing"
)

// What has been carried is counted alike at both ends, whatever way it went, and so is the memory that is shared.
func TestUsage(t *testing.T) {
	for name, mode := range map[string]RingMode{"ring": RingOn, "no ring": RingOff} {
		t.Run(name, func(t *testing.T) {
			a, b := sharers(t, &Config{Ring: mode})
			go b.Send(Message{})
			if _, err := a.Recv(); err != nil { // and b's area before it
				t.Fatal(err)
			}
			before, there := a.Usage(), b.Usage()
			var want int64
			for _, n := range []int{0, 100, 300 << 10} {
				want += headerSize + int64(n)
				done := make(chan error, 1)
				go func() { done <- a.Send(Message{Data: make([]byte, n)}) }()
				if m, err := b.Recv(); err != nil || len(m.Data) != n {
					t.Fatal(len(m.Data), err)
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			buf := sendShared(t, a, b, 100<<10, 'x')
			want += headerSize + refSize + 100<<10
			after, now := a.Usage(), b.Usage()
			if got := after.Sent - before.Sent; got != want {
				t.Errorf("%d bytes were sent, and %d counted", want, got)
			}
			// Frames about memory are counted by who receives them; they are small.
			if got := now.Received - there.Received; got < want || got > want+1000 {
				t.Errorf("%d bytes were received, and %d counted", want, got)
			}
			if after.Made < 100<<10 || after.Lent != after.Made || now.Taken != after.Made || now.Made != 0 {
				t.Errorf("a has %+v, b has %+v, with a Buffer on loan", after, now)
			}
			buf.Release()
			if (after.Ring > 0) != (mode == RingOn) {
				t.Errorf("the ring has %d bytes", after.Ring)
			}
			a.Close()
			if u := a.Usage(); u.Made != 0 || u.Lent != 0 || u.Sent != after.Sent {
				t.Errorf("after Close a has %+v", u)
			}
		})
	}
}

// Nobody has agreed on anything yet.
func TestUsageBeforeHello(t *testing.T) {
	a, b := sharers(t, nil)
	a.Close()
	b.Close()
	if _, err := a.NewBuffer(context.Background(), 1); err == nil {
		t.Error("a Buffer of a closed Channel")
	}
	if u := New(b.Conn(), nil).Usage(); u != (Usage{}) {
		t.Errorf("a new Channel has %+v", u)
	}
}

// What was received is never less than it was, though who receives can't be asked.
func TestUsageBesideRecv(t *testing.T) {
	a, b := sharers(t, nil)
	if err := a.Send(Message{Data: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Recv(); err != nil {
		t.Fatal(err)
	}
	before := b.Usage().Received
	b.r.mu.Lock()
	defer b.leave()
	if now := b.Usage().Received; before < int64(headerSize+len("hello")) || now != before {
		t.Errorf("%d bytes, and then %d", before, now)
	}
}
