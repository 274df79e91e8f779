package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/standpipe/standpipe"
)

// source reads from r in a goroutine of its own, so that a read of stdin, which nothing can end, holds up nobody. It
// outlives the connections that it feeds. Its goroutine ends with r, or with the program.
type source struct {
	chunks chan []byte // closed at the end of r
	free   chan []byte
	err    error // after chunks is closed
}

func newSource(r io.Reader) *source {
	s := &source{chunks: make(chan []byte), free: make(chan []byte, 2)}
	s.free <- make([]byte, 64<<10)
	s.free <- make([]byte, 64<<10)
	go s.read(r)
	return s
}

func (s *source) read(r io.Reader) {
	defer close(s.chunks)
	for buf := range s.free {
		n, err := r.Read(buf[:cap(buf)])
		if n > 0 {
			s.chunks <- buf[:n]
		} else {
			s.free <- buf
		}
		if err != nil {
			if err != io.EOF {
				s.err = err
			}
			return
		}
	}
}

// pump moves bytes both ways between a connection, in and out, until both ways have ended; then it closes the
// connection. The end of in is told to the peer where the system can (CloseWrite).
//
// When one way has ended, the other may have nothing to say any more, without being able to tell: a terminal that
// nobody types at, or a Windows pipe, which can't be half closed. So the connection also ends when one way has, and
// the other has been silent for linger.
func pump(ctx context.Context, conn *standpipe.Conn, in *source, out io.Writer, linger time.Duration) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	var heard atomic.Int64 // when something last came, in Unix nanoseconds
	heard.Store(time.Now().UnixNano())
	received := make(chan error, 1)
	go func() {
		_, err := io.Copy(out, &noting{conn, &heard})
		received <- err
	}()

	sendErr, recvErr, over := send(conn, in, received, linger)
	if !over {
		recvErr = receive(conn, received, &heard, sendErr, linger)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case recvErr != nil:
		return recvErr
	case errors.Is(sendErr, errHalf):
		return nil
	}
	return sendErr
}

// errHalf: everything was sent, but the peer could not be told so.
var errHalf = errors.New("the end can't be told")

// send sends all of in. It gives up when the peer has ended its way and in is silent; then over is true, and recvErr
// is how the other way ended.
func send(conn *standpipe.Conn, in *source, received <-chan error, linger time.Duration) (err, recvErr error, over bool) {
	var silent <-chan time.Time
	for {
		select {
		case chunk, more := <-in.chunks:
			if !more {
				if in.err != nil {
					return in.err, recvErr, over
				}
				if err := conn.CloseWrite(); errors.Is(err, errors.ErrUnsupported) {
					return errHalf, recvErr, over
				}
				return nil, recvErr, over // any other error is the receiver's to see
			}
			_, err := conn.Write(chunk)
			in.free <- chunk
			if err != nil {
				if errors.Is(err, syscall.EPIPE) {
					err = fmt.Errorf("the peer has gone before everything was sent: %w", err)
				}
				return err, recvErr, over
			}
			if over {
				silent = time.After(linger)
			}
		case recvErr = <-received:
			received, over = nil, true
			if recvErr != nil {
				return nil, recvErr, true
			}
			silent = time.After(linger)
		case <-silent:
			return nil, recvErr, true
		}
	}
}

// receive waits for the end of what comes, after sending has ended with sendErr.
func receive(conn *standpipe.Conn, received <-chan error, heard *atomic.Int64, sendErr error, linger time.Duration) error {
	if sendErr != nil && !errors.Is(sendErr, errHalf) {
		linger = 0 // the connection is broken: only what has come already is still of interest
	}
	if sendErr == nil {
		return <-received
	}
	began := time.Now()
	for {
		last := time.Unix(0, heard.Load())
		if last.Before(began) {
			last = began
		}
		wait := time.Until(last.Add(linger))
		if wait <= 0 {
			conn.Close()
			<-received
			return nil
		}
		select {
		case err := <-received:
			return err
		case <-time.After(wait):
		}
	}
}

// noting notes when something came.
type noting struct {
	r     io.Reader
	heard *atomic.Int64
}

func (n *noting) Read(b []byte) (int, error) {
	m, err := n.r.Read(b)
	n.heard.Store(time.Now().UnixNano())
	return m, err
}
