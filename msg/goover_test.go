package msg

import (
	"testing"
	"time"
)

// The stream goes over to the ring also where somebody writes at that moment, and nothing is sent after that: until then the peer hears
// no bells while it waits for room. (Found by spec/vectors/memory/ring-connection-instead.)
func TestGoesOverBehindWrite(t *testing.T) {
	a, b := sharers(t, nil)
	a.w.mu.Lock()
	a.w.writing = true
	a.w.mu.Unlock()
	go a.Recv()
	b.sh.makeArea(b) // a makes its own when it comes
	until := func(what string, done func() bool) {
		t.Helper()
		for start := time.Now(); !done(); time.Sleep(100 * time.Microsecond) {
			if time.Since(start) > 10*time.Second {
				t.Fatal("it does not come to that: ", what)
			}
		}
	}
	until("both areas", func() bool { return a.sh.ring.Load() != nil })
	until("a ring to go to", func() bool { a.w.mu.Lock(); defer a.w.mu.Unlock(); return a.w.next != nil })
	a.w.mu.Lock()
	if err := a.w.drain(nil); err != nil { // the write goes on
		t.Fatal(err)
	}
	until("the ring frame", func() bool { a.w.mu.Lock(); defer a.w.mu.Unlock(); return a.w.ring != nil })
}
