package pipetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"
)

// Data, and deadlines.

// noBytes: nothing is sent for nothing, and nothing is waited for.
func noBytes(w wait, a, b net.Conn) error {
	a.SetDeadline(w.soon())
	b.SetDeadline(w.soon())
	if n, err := a.Write(nil); n != 0 || err != nil {
		return fmt.Errorf("a Write of nothing: %d, %v", n, err)
	}
	if n, err := b.Read(nil); n != 0 || err != nil {
		return fmt.Errorf("a Read of nothing: %d, %v", n, err)
	}
	if _, err := a.Write([]byte("x")); err != nil {
		return err
	}
	got := make([]byte, 2)
	if n, err := b.Read(got); n != 1 || err != nil {
		return fmt.Errorf("behind it: %d, %v", n, err)
	}
	return nil
}

// isTimeout: as the documentation of net.Conn has it, in both ways to ask.
func isTimeout(what string, err error) error {
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		return fmt.Errorf("%s: %v, want os.ErrDeadlineExceeded", what, err)
	}
	return nil
}

// readDeadline: a Read that a deadline has ended has taken nothing, and the next ones go on.
func readDeadline(w wait, a, b net.Conn) error {
	for range 20 {
		b.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
		_, err := b.Read(make([]byte, 1))
		if err := isTimeout("Read", err); err != nil {
			return err
		}
		b.SetReadDeadline(w.soon())
		done := after(func() error { _, err := a.Write([]byte("abc")); return err })
		got := make([]byte, 3)
		if _, err := io.ReadFull(b, got); err != nil || string(got) != "abc" {
			return fmt.Errorf("after a deadline: %q, %v", got, err)
		}
		if err := w.await("Write", done); err != nil {
			return err
		}
	}
	return nil
}

func writeDeadline(w wait, a, b net.Conn) error {
	a.SetWriteDeadline(time.Now().Add(30 * time.Millisecond))
	done := after(func() error { return fill(a) })
	return isTimeout("Write", w.await("Write", done))
}

// pastDeadline: it counts even where there is data, or room; and it ends what waits already.
func pastDeadline(w wait, a, b net.Conn) error {
	done := reading(b)
	waiting()
	b.SetDeadline(time.Unix(1, 0))
	if err := isTimeout("a Read that waited", w.await("Read", done)); err != nil {
		return err
	}
	a.SetDeadline(w.soon())
	if _, err := a.Write([]byte("x")); err != nil {
		return err
	}
	_, err := b.Read(make([]byte, 1))
	if err := isTimeout("Read", err); err != nil {
		return err
	}
	_, err = b.Write([]byte("x"))
	if err := isTimeout("Write", err); err != nil {
		return err
	}
	b.SetDeadline(time.Time{})
	got := make([]byte, 1)
	if n, err := b.Read(got); n != 1 || err != nil {
		return fmt.Errorf("without a deadline again: %d, %v", n, err)
	}
	return nil
}

// movingDeadline moves it all the time, while data flows: not a byte is lost or doubled.
func movingDeadline(w wait, a, b net.Conn) error {
	const size = 256 << 10
	sent := noise(size)
	quit := make(chan struct{})
	var movers sync.WaitGroup
	for range 3 {
		movers.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
					b.SetReadDeadline(time.Now().Add(time.Duration(rand.IntN(300)) * time.Microsecond))
					time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
				}
			}
		})
	}
	defer movers.Wait()
	defer close(quit)
	a.SetWriteDeadline(w.soon())
	done := after(func() error { return writeParts(a, sent) })
	got := make([]byte, 0, size)
	for end := w.soon(); len(got) < size; {
		n, err := b.Read(got[len(got):cap(got)])
		got = got[:len(got)+n]
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("only %d of %d bytes came", len(got), size)
		}
	}
	if !bytes.Equal(got, sent) {
		return errors.New("what arrived is not what was sent")
	}
	return w.await("Write", done)
}

func writeParts(c net.Conn, b []byte) error {
	for len(b) > 0 {
		n := min(len(b), 1+rand.IntN(8<<10))
		if _, err := c.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// bothWays: 1 MiB each way at once, from both ends.
func bothWays(w wait, a, b net.Conn) error {
	const size = 1 << 20
	a.SetDeadline(w.soon())
	b.SetDeadline(w.soon())
	var all []<-chan error
	one := func(from, to net.Conn) {
		sent := noise(size)
		all = append(all,
			after(func() error { _, err := from.Write(sent); return err }),
			after(func() error {
				got := make([]byte, size)
				if _, err := io.ReadFull(to, got); err != nil {
					return err
				}
				if !bytes.Equal(got, sent) {
					return errors.New("what arrived is not what was sent")
				}
				return nil
			}))
	}
	one(a, b)
	one(b, a)
	return joined(all) // the deadline ends them
}

// wholeWrites: goroutines that write at the same time take turns; nobody's bytes stand amidst another's.
func wholeWrites(w wait, a, b net.Conn) error {
	const writers, each = 4, 50
	a.SetDeadline(w.soon())
	b.SetDeadline(w.soon())
	var all []<-chan error
	for w := range writers {
		all = append(all, after(func() error {
			for range each {
				n := 1 + rand.IntN(40<<10)
				block := binary.LittleEndian.AppendUint32(nil, uint32(n))
				block = append(block, bytes.Repeat([]byte{byte(w)}, n)...)
				if _, err := a.Write(block); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	for range writers * each {
		var head [4]byte
		if _, err := io.ReadFull(b, head[:]); err != nil {
			return err
		}
		n := binary.LittleEndian.Uint32(head[:])
		if n == 0 || n > 40<<10 {
			return fmt.Errorf("a block of %d bytes: the writes were mixed", n)
		}
		block := make([]byte, n)
		if _, err := io.ReadFull(b, block); err != nil {
			return err
		}
		if bytes.Count(block, block[:1]) != len(block) {
			return errors.New("the writes were mixed")
		}
	}
	return joined(all)
}

// noise is n bytes, other ones each time.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
