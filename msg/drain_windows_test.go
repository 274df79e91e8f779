package msg

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// A peer that sends all the time does not keep Close from ending: not by messages, and not by what is no message. So many frames come at once
// that whoever reads them is never through.
func TestCloseBesideFlood(t *testing.T) {
	for name, kind := range map[string]uint8{"messages": kindMessage, "ignored": kindIgnored} {
		var frames []byte
		for range 64 << 10 {
			frames = appendHeader(frames, header{kind: kind})
		}
		flood := func(t *testing.T, a, b *Channel, to io.Writer) {
			a.w.mu.Lock()
			a.w.writing = true
			a.w.mu.Unlock()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				defer func() { a.w.mu.Lock(); a.w.end() }()
				var err error
				for err == nil {
					_, err = to.Write(frames)
				}
			}()
			time.Sleep(20 * time.Millisecond)
			within(t, 5*time.Second, "Close", func() { b.Close() })
			within(t, 5*time.Second, "the flooder's Close", func() { a.Close() })
			<-ended
		}
		t.Run(name+" in the ring", func(t *testing.T) {
			a, b := inRing(t)
			flood(t, a, b, a.sh.ring.Load())
		})
		t.Run(name+" on the connection", func(t *testing.T) {
			a, b := sharers(t, &Config{Ring: RingOff})
			flood(t, a, b, a.c)
		})
	}
}

// What was lent stays as it is while Close reads what comes behind it.
func TestLentBesideClose(t *testing.T) {
	a, b := sharers(t, &Config{Ring: RingOff})
	want := bytes.Repeat([]byte("lent"), 100)
	if err := a.SendData(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	var m Message
	if memory, err := b.RecvInto(&m); memory != nil || err != nil || !bytes.Equal(m.Data, want) {
		t.Fatal(memory, m, err)
	}
	for range 10 {
		if err := a.SendData(t.Context(), bytes.Repeat([]byte("more"), 100)); err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	if !bytes.Equal(m.Data, want) {
		t.Errorf("now it is %q", m.Data)
	}
}

// Whoever aborts takes no memory any more, since the peer may take it back as soon as it hears of that.
func TestAbortTakesNothing(t *testing.T) {
	server, client := withHandles(t, true)
	heard := make(chan error)
	go func() {
		var err error
		for err == nil {
			_, err = server.Recv()
		}
		heard <- err
	}()
	client.Abort("enough")
	var pe *ProtocolError
	if err := <-heard; !errors.As(err, &pe) || !pe.Remote {
		t.Error(err)
	}
	if n := client.sh.taker.known(); n != 0 {
		t.Errorf("it took %d segments", n)
	}
}

// An abort in the ring may be faster than a segment on the connection beside it. TestMain finds what is left.
func TestAbortOvertakes(t *testing.T) {
	for _, by := range []string{"server", "client"} {
		t.Run(by, func(t *testing.T) {
			a, b := inRing(t)
			if by == "client" {
				a, b = b, a
			}
			a.sh.line.bells.turn.Lock() // nothing goes over the connection
			buf, err := a.NewBuffer(t.Context(), 64<<10)
			if err != nil || !buf.Shared() {
				t.Fatal(buf, err)
			}
			a.w.abort("enough")
			a.w.flush()
			time.AfterFunc(20*time.Millisecond, a.sh.line.bells.turn.Unlock)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				var pe *ProtocolError
				if _, err := b.Recv(); !errors.As(err, &pe) || !pe.Remote {
					t.Error(err)
				}
			}()
			within(t, 5*time.Second, "Abort", func() { a.Abort("enough") })
			<-ended
			buf.Release()
		})
	}
}

// exports counts what is put into the peer's process.
type exports struct {
	handler
	n int
}

func (e *exports) ExportHandle(f *os.File) (uint64, error) {
	e.n++
	return e.handler.ExportHandle(f)
}

// When nothing can be sent any more, nothing is put into the client's process either: Close would not hear of it.
func TestNoExportAtEnd(t *testing.T) {
	a, _ := sharers(t, &Config{Ring: RingOff})
	count := &exports{handler: a.sh.line.h}
	a.sh.line.h = count
	a.w.finish()
	if err := create(t, a, 64<<10, false); err == nil || count.n != 0 {
		t.Errorf("%d segments were handed over: %v", count.n, err)
	}
}

// A peer that does not close when it is told that it broke the rules is not waited for without end, whatever it sends.
func TestAbortOfWhoStays(t *testing.T) {
	for _, floods := range []bool{false, true} {
		server, client := withHandles(t, true)
		if floods {
			go func() {
				for {
					if _, err := client.c.Write(make([]byte, 1<<10)); err != nil {
						return
					}
				}
			}()
		}
		within(t, 10*time.Second, "Abort", func() { server.Abort("enough") })
		if err := server.c.SetReadDeadline(time.Time{}); err == nil {
			t.Error("the connection is open")
		}
		client.Close() // takes what is still on its way
	}
}
