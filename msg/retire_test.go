package msg

import (
	"testing"
	"time"
)

// A new segment, for which an old one made room, does not overtake that one's retire: it comes over the connection, and what is in the ring is read later.
func TestRetireBesideRing(t *testing.T) {
	a, b := sharers(t, &Config{MaxShared: 8 << 20, Ring: RingOn})
	go a.Recv()
	held := []Buffer{sendShared(t, a, b, 3<<20, 1), sendShared(t, a, b, 3<<20, 2)}
	for start := time.Now(); ; {
		b.r.mu.Lock()
		over := b.r.ring != nil
		b.r.mu.Unlock()
		if over {
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatal("there is no ring")
		}
		a.Send(Message{})
		if _, err := b.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	held[0].Release()
	held[1].Release()
	b.Flush()
	for freeOnes(a) < 2 {
		time.Sleep(time.Millisecond)
	}
	large, err := a.NewBuffer(t.Context(), 7<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer large.Release()
	known := b.sh.taker.known()
	a.Flush()
	done := make(chan error, 1)
	go func() {
		b.r.mu.Lock()
		defer b.leave()
		done <- b.r.ring.Until(func() bool { return b.sh.taker.known() > known })
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the new segment is not heard of")
	}
}

func freeOnes(ch *Channel) int {
	ch.sh.maker.mu.Lock()
	defer ch.sh.maker.mu.Unlock()
	return len(ch.sh.maker.free)
}
