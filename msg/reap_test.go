package msg

import (
	"sync"
	"testing"
	"time"
)

// Whoever is the last to leave a Channel that was closed gives up its memory: also a Recv that got its message, a Greet, and a writer.
func TestReapedByTheLast(t *testing.T) {
	last := map[string]func(ch, peer *Channel){
		"Recv":  func(ch, peer *Channel) { ch.Recv() },
		"Greet": func(ch, peer *Channel) { ch.Greet() },
		"Send":  func(ch, peer *Channel) { ch.SendData(t.Context(), make([]byte, 2<<20)) },
	}
	for name, use := range last {
		t.Run(name, func(t *testing.T) {
			for i := range 200 {
				a, b := sharers(t, &Config{Ring: RingOn})
				if err := a.SendData(t.Context(), []byte("one"), []byte("message")); err != nil {
					t.Fatal(err)
				}
				go func() {
					for a.discard() == nil {
					}
				}()
				var both sync.WaitGroup
				both.Go(func() { use(b, a) })
				both.Go(func() { time.Sleep(time.Duration(i) * time.Microsecond); b.Close() })
				both.Wait()
				a.Close()
				for start := time.Now(); !b.isReaped(); time.Sleep(time.Millisecond) {
					if time.Since(start) > 5*time.Second {
						t.Fatalf("round %d: its memory is there still", i)
					}
				}
			}
		})
	}
}

func (ch *Channel) discard() error {
	_, err := ch.RecvInto(&Message{})
	return err
}

func (ch *Channel) isReaped() bool {
	ch.sh.mu.Lock()
	defer ch.sh.mu.Unlock()
	return ch.sh.ended
}
