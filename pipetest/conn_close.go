package pipetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// Closing, by either side.

func closeKeepsData(w wait, a, b net.Conn) error {
	sent := bytes.Repeat([]byte("data"), 1000)
	a.SetDeadline(w.soon())
	b.SetDeadline(w.soon())
	if _, err := a.Write(sent); err != nil {
		return err
	}
	if err := a.Close(); err != nil {
		return err
	}
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, sent) {
		return fmt.Errorf("%d bytes were written before Close; %d arrived, %v", len(sent), len(got), err)
	}
	return nil
}

// eofAgain: io.EOF bare, each time.
func eofAgain(w wait, a, b net.Conn) error {
	a.Close()
	b.SetDeadline(w.soon())
	for range 3 {
		if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			return fmt.Errorf("after the peer's Close: %d, %v", n, err)
		}
	}
	return nil
}

func closeTwice(w wait, a, b net.Conn) error {
	if err := a.Close(); err != nil {
		return err
	}
	_, readErr := a.Read(make([]byte, 1))
	_, writeErr := a.Write([]byte("x"))
	return errors.Join(
		want("the second Close", a.Close(), net.ErrClosed),
		want("Read after Close", readErr, net.ErrClosed),
		want("Write after Close", writeErr, net.ErrClosed),
		want("SetDeadline after Close", a.SetDeadline(time.Now()), net.ErrClosed),
	)
}

func closeEndsRead(w wait, a, b net.Conn) error {
	var all []<-chan error
	for range 3 {
		all = append(all, reading(a))
	}
	waiting()
	a.Close()
	for _, done := range all {
		if err := want("Read", w.await("Read", done), net.ErrClosed); err != nil {
			return err
		}
	}
	return nil
}

func closeEndsWrite(w wait, a, b net.Conn) error {
	done := after(func() error { return fill(a) })
	waiting()
	a.Close()
	return want("Write", w.await("Write", done), net.ErrClosed)
}

// fill writes until that fails.
func fill(c net.Conn) error {
	block := make([]byte, 1<<20)
	for {
		if _, err := c.Write(block); err != nil {
			return err
		}
	}
}

func peerEndsRead(w wait, a, b net.Conn) error {
	done := reading(b)
	waiting()
	a.Close()
	if err := w.await("Read", done); err != io.EOF {
		return fmt.Errorf("a Read at the end: %v, want io.EOF as it stands", err)
	}
	return nil
}

func peerEndsWrite(w wait, a, b net.Conn) error {
	done := after(func() error { return fill(b) })
	waiting()
	a.Close()
	return want("Write", w.await("Write", done), syscall.EPIPE)
}

// writeToGone: the first writes may still be taken, but not all.
func writeToGone(w wait, a, b net.Conn) error {
	a.Close()
	b.SetDeadline(w.soon())
	return want("Write", fill(b), syscall.EPIPE)
}

func closeWrite(w wait, a, b net.Conn) error {
	half, ok := a.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("a %T has no CloseWrite", a)
	}
	a.SetDeadline(w.soon())
	b.SetDeadline(w.soon())
	if _, err := a.Write([]byte("question")); err != nil {
		return err
	}
	if err := half.CloseWrite(); err != nil {
		return err
	}
	if got, err := io.ReadAll(b); err != nil || string(got) != "question" {
		return fmt.Errorf("before CloseWrite: %q, %v", got, err)
	}
	if _, err := b.Write([]byte("answer")); err != nil {
		return fmt.Errorf("the other direction: %w", err)
	}
	if err := b.Close(); err != nil {
		return err
	}
	if got, err := io.ReadAll(a); err != nil || string(got) != "answer" {
		return fmt.Errorf("the other direction: %q, %v", got, err)
	}
	_, err := a.Write([]byte("x"))
	return want("Write after CloseWrite", err, syscall.EPIPE)
}
