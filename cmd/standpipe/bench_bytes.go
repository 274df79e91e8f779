package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The ways that carry bytes and nothing else. A connection begins with a header that says what comes; a client opens one for each size, and
// then there are no frames: plain writes, and reads of a size that both ends know.

// benchHeader begins a connection.
type benchHeader struct {
	Size  uint64
	Count uint64 // of messages that go one way, at whose end their sum is sent back; 0: each one is sent back as it came
}

func serveBenchBare(ctx context.Context, name string, ready func(string)) error {
	ln, addr, remove, err := bareListen(name)
	if err != nil {
		return err
	}
	defer remove()
	return serveBenchBytes(ctx, ln, func() { ready(addr) })
}

func serveBenchTCP(ctx context.Context, _ string, ready func(string)) error {
	ln, err := benchListenTCP()
	if err != nil {
		return err
	}
	return serveBenchBytes(ctx, ln, func() { ready(ln.Addr().String()) })
}

func serveBenchBytes(ctx context.Context, ln net.Listener, ready func()) error {
	defer ln.Close()
	defer benchClosing(ctx, ln)()
	ready()
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			benchBytesConn(conn)
		}()
	}
}

func benchBytesConn(conn net.Conn) error {
	var h benchHeader
	if err := binary.Read(conn, binary.LittleEndian, &h); err != nil {
		return err
	}
	if h.Size > benchLargest {
		return errTooLong
	}
	buf := make([]byte, h.Size)
	var sum uint64
	for i := uint64(0); h.Count == 0 || i < h.Count; i++ {
		if _, err := io.ReadFull(conn, buf); err != nil {
			return err
		}
		if h.Count > 0 {
			sum += benchTouch(buf)
			continue
		}
		if _, err := conn.Write(buf); err != nil {
			return err
		}
	}
	_, err := conn.Write(binary.LittleEndian.AppendUint64(nil, sum))
	return err
}

// benchBytes is a client that has a connection for echoes of one size within one context, and another for each sending.
type benchBytes struct {
	dial   func(ctx context.Context) (net.Conn, error)
	conn   net.Conn
	within context.Context // whose end closes conn
	buf    []byte
}

func benchDialBytes(dial func(ctx context.Context, addr string) (net.Conn, error)) func(context.Context, string) (benchClient, error) {
	return func(_ context.Context, addr string) (benchClient, error) {
		return &benchBytes{dial: func(ctx context.Context) (net.Conn, error) { return dial(ctx, addr) }}, nil
	}
}

func (c *benchBytes) open(ctx context.Context, h benchHeader) (net.Conn, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := binary.Write(conn, binary.LittleEndian, h); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (c *benchBytes) echo(ctx context.Context, msg []byte) ([]byte, error) {
	if c.conn == nil || c.within != ctx || len(c.buf) != len(msg) {
		c.close()
		var err error
		if c.conn, err = c.open(ctx, benchHeader{Size: uint64(len(msg))}); err != nil {
			return nil, err
		}
		benchClosing(ctx, c.conn)
		c.within, c.buf = ctx, benchGrown(c.buf, len(msg))
	}
	if err := benchExchange(c.conn, msg, c.buf); err != nil {
		return nil, err
	}
	return c.buf, nil
}

// benchExchange writes msg and reads what comes back. A message that no buffer between the two holds is sent back whole, since the server reads all
// of it first.
func benchExchange(conn net.Conn, msg, back []byte) error {
	if _, err := conn.Write(msg); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, back)
	return err
}

func (c *benchBytes) send(ctx context.Context, msg []byte, n int) error {
	conn, err := c.open(ctx, benchHeader{Size: uint64(len(msg)), Count: uint64(n)})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer benchClosing(ctx, conn)()
	for range n {
		if _, err := conn.Write(msg); err != nil {
			return err
		}
	}
	var sum [8]byte
	if _, err = io.ReadFull(conn, sum[:]); err != nil {
		return err
	}
	return benchSum(binary.LittleEndian.Uint64(sum[:]), msg, n)
}

// benchSum holds the server's sum against what was sent.
func benchSum(got uint64, msg []byte, n int) error {
	if want := benchTouch(msg) * uint64(n); got != want {
		return fmt.Errorf("the server has read other bytes: their sum is %d, not %d", got, want)
	}
	return nil
}

func (c *benchBytes) close() error {
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

// A datagram is a kind, a number, and the message. Where it asks for an answer, that is the message, or how many came one way since the client's
// last start.
const (
	benchDatagram    = 65507 - benchUDPHead // what IP has room for, less the head
	benchUDPHead     = 9
	benchUDPEcho     = 1
	benchUDPStart    = 2 // begin to count
	benchUDPCount    = 3
	benchUDPAnswer   = 4                      // count this one, too, and say how many that makes
	benchUDPPatience = 200 * time.Millisecond // then a datagram counts as lost
	benchUDPTries    = 25
	benchUDPAhead    = 64 << 10 // bytes that are sent ahead of an answer: what every system's buffers hold
)

func serveBenchUDP(ctx context.Context, _ string, ready func(string)) error {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer benchClosing(ctx, conn)()
	ready(conn.LocalAddr().String())
	buf := make([]byte, 64<<10)
	for count, sum := uint64(0), uint64(0); ; {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		if n < benchUDPHead {
			continue
		}
		answer := buf[:n]
		switch buf[0] {
		case benchUDPStart:
			count, sum = 0, 0
		case benchUDPCount, benchUDPAnswer:
			count++
			sum += benchTouch(buf[benchUDPHead:n])
			if buf[0] == benchUDPCount {
				continue
			}
			answer = binary.LittleEndian.AppendUint64(buf[:benchUDPHead], count)
		}
		if _, err := conn.WriteToUDPAddrPort(answer, from); err != nil {
			return err
		}
	}
}

// benchUDP is the client.
type benchUDP struct {
	conn    *net.UDPConn
	number  uint64
	out, in []byte
}

func dialBenchUDP(ctx context.Context, addr string) (benchClient, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", addr)
	if err != nil {
		return nil, err
	}
	return &benchUDP{conn: conn.(*net.UDPConn), in: make([]byte, 64<<10)}, nil
}

// ask sends a datagram until it is answered.
func (c *benchUDP) ask(ctx context.Context, kind byte, msg []byte) ([]byte, error) {
	c.number++
	for range benchUDPTries {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := c.write(kind, msg); err != nil {
			return nil, err
		}
		c.conn.SetReadDeadline(time.Now().Add(benchUDPPatience))
		for {
			n, err := c.conn.Read(c.in)
			if err != nil {
				var timeout net.Error
				if errors.As(err, &timeout) && timeout.Timeout() {
					break
				}
				return nil, err
			}
			if n >= benchUDPHead && binary.LittleEndian.Uint64(c.in[1:]) == c.number { // or it is late
				return c.in[benchUDPHead:n], nil
			}
		}
	}
	return nil, fmt.Errorf("a datagram was not answered in %d tries", benchUDPTries)
}

func (c *benchUDP) write(kind byte, msg []byte) error {
	c.out = append(binary.LittleEndian.AppendUint64(append(c.out[:0], kind), c.number), msg...)
	_, err := c.conn.Write(c.out)
	return err
}

func (c *benchUDP) echo(ctx context.Context, msg []byte) ([]byte, error) {
	return c.ask(ctx, benchUDPEcho, msg)
}

// send goes on until n messages have come: those that are lost are sent again.
func (c *benchUDP) send(ctx context.Context, msg []byte, n int) error {
	if _, err := c.ask(ctx, benchUDPStart, nil); err != nil {
		return err
	}
	ahead := max(1, min(32, benchUDPAhead/len(msg)))
	for came := 0; came < n; {
		for range min(ahead, n-came) - 1 {
			if err := c.write(benchUDPCount, msg); err != nil {
				return err
			}
		}
		count, err := c.ask(ctx, benchUDPAnswer, msg)
		if err != nil {
			return err
		}
		if len(count) != 8 {
			return benchShort(len(count), 8)
		}
		came = int(binary.LittleEndian.Uint64(count))
	}
	return nil
}

func (c *benchUDP) close() error { return c.conn.Close() }
