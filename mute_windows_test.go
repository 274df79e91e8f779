package standpipe

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// Clients who open a pipe without SECURITY_SQOS_PRESENT, as most programs do, can be identified after their first write
// only. Wine identifies everybody at once, so the tests bring Windows' answer themselves.

// shy is clientToken for such clients.
func shy(e *endpoint, h windows.Handle) (windows.Token, error) {
	if len(e.first) == 0 {
		return 0, windows.ERROR_CANNOT_IMPERSONATE
	}
	return e.clientToken(h)
}

func TestMuteClient(t *testing.T) {
	const text = "first words"
	l := asked(t, ListenConfig{Backlog: 1}, senses{shy, muteLimit})
	silent, err := Dial(soon(t), l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	// Others are served meanwhile, with one instance posted.
	for range 5 {
		c, err := Dial(soon(t), l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, text)
		within(t, "Accept beside a silent client", func() {
			s, err := l.AcceptConn()
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if s.Identity().User != currentUser() {
				t.Errorf("the client is %v", s.Identity())
			}
			b := make([]byte, 5) // less than what was read before
			n, err := s.Read(b)
			rest, err2 := io.ReadAtLeast(s, make([]byte, 100), len(text)-5)
			if string(b[:n]) != text[:5] || err != nil || rest != len(text)-5 || err2 != nil {
				t.Errorf("read %q, %v; then %d, %v", b[:n], err, rest, err2)
			}
			io.WriteString(s, "answer")
			if n, err := io.ReadFull(c, make([]byte, 6)); err != nil {
				t.Error(n, err)
			}
		})
	}
	io.WriteString(silent, text)
	s, err := l.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	silent.Close()
	if got, err := io.ReadAll(s); string(got) != text || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	s.Close()
}

// TestMuteMessages: a first message keeps its end, also where it is longer than what is read of it before Accept.
func TestMuteMessages(t *testing.T) {
	for _, size := range []int{10, firstChunk, firstChunk + 1, 3*firstChunk + 5} {
		for _, buf := range []int{7, firstChunk, firstChunk + 1, 20 * firstChunk} {
			l := asked(t, ListenConfig{Messages: true, Backlog: 1}, senses{shy, muteLimit})
			c, err := Dial(soon(t), l.Addr().String(), &DialConfig{Messages: true})
			if err != nil {
				t.Fatal(err)
			}
			message := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
			go func() {
				c.Write(message)
				c.Write([]byte("second"))
			}()
			s, err := l.AcceptConn()
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range [][]byte{message, []byte("second")} {
				var got []byte
				for {
					b := make([]byte, buf)
					n, err := s.Read(b)
					got = append(got, b[:n]...)
					if errors.Is(err, io.ErrShortBuffer) && n > 0 {
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					break
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("size %d, buffer %d: read %d bytes, want %d", size, buf, len(got), len(want))
				}
			}
			c.Close()
			s.Close()
			l.Close()
		}
	}
}

// TestMuteCrowd: more silent clients than are listened to at once. Those who speak are served all the same.
func TestMuteCrowd(t *testing.T) {
	l := asked(t, ListenConfig{Backlog: 2}, senses{shy, 20 * time.Second})
	var all, up sync.WaitGroup
	for range maxMute {
		up.Add(1)
		all.Go(func() {
			c, err := Dial(soon(t), l.Addr().String(), nil)
			up.Done()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("a silent client reads %d, %v", n, err)
			}
		})
	}
	up.Wait()
	for range 5 { // these find no place
		all.Go(func() {
			c, err := Dial(soon(t), l.Addr().String(), nil)
			if err == nil {
				c.Read(make([]byte, 1))
				c.Close()
			}
		})
	}
	echo(l)
	within(t, "a client in a silent crowd", func() {
		c, err := Dial(soon(t), l.Addr().String(), nil)
		if err == nil {
			err = say(c, "hello")
			c.Close()
		}
		if err != nil {
			t.Error(err)
		}
	})
	within(t, "Close", func() { l.Close(); all.Wait() })
}

// TestMuteTurnedAway: who says nothing in time is refused.
func TestMuteTurnedAway(t *testing.T) {
	l := asked(t, ListenConfig{Backlog: 1}, senses{shy, 50 * time.Millisecond})
	wantAdmitted(t, l, false)
	if n := l.Refused(); n != 1 {
		t.Errorf("%d refused", n)
	}
}

// TestMuteGone: silent clients who go are nobody's business, and Close does not wait for those who stay.
func TestMuteGone(t *testing.T) {
	l := asked(t, ListenConfig{Backlog: 1}, senses{shy, muteLimit})
	for range 2 * maxMute {
		c, err := Dial(soon(t), l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	c, err := Dial(soon(t), l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	within(t, "Close", func() { l.Close() })
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Error(n, err)
	}
	if l.Refused() != 0 {
		t.Error(l.Refused())
	}
}
