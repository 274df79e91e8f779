package main

import (
	"encoding/binary"
	"io"
	"net"
)

// The floors: plain reads and writes of a size that both ends know, without frames. Each caller has a connection of its own.

func init() {
	for _, f := range []struct{ network, note string }{
		{"unix", "net.UnixConn, plain Write and Read, no frames; what ratios are of"},
		{"tcp", "net.TCPConn over loopback, plain Write and Read, no frames: the floor of those that go over TCP"},
	} {
		register(contender{name: f.network, group: floors, over: f.network, note: f.note, shared: "a connection each", huge: true,
			serve: func(e *env) error { return floorServe(e, f.network) },
			dial:  func(e *env) (client, error) { return floorDial(e, f.network) }})
	}
}

// listen listens on the run's socket, or on a free port.
func listen(e *env, network string) (net.Listener, error) {
	if network == "tcp" {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	return net.Listen("unix", e.socket())
}

// accept calls serve in a goroutine for each connection.
func accept(ln net.Listener, serve func(net.Conn)) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go serve(c)
	}
}

func floorServe(e *env, network string) error {
	ln, err := listen(e, network)
	if err != nil {
		return err
	}
	e.ready(ln.Addr().String())
	return accept(ln, func(c net.Conn) { floorConn(c) })
}

// floorHeader is what a connection begins with: whether messages go one way, how large they are, and how many come.
type floorHeader struct {
	Size   uint64
	Count  uint64
	OneWay bool
	_      [47]byte // what follows is to begin at a line, as the memory does that it comes from: see mem.Copy
}

func floorConn(c io.ReadWriteCloser) {
	defer c.Close()
	var h floorHeader
	if err := binary.Read(c, binary.LittleEndian, &h); err != nil {
		return
	}
	b := make([]byte, h.Size)
	if !h.OneWay {
		for {
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}
	var sum uint64
	for range h.Count {
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		sum += touch(b)
	}
	c.Write(binary.LittleEndian.AppendUint64(nil, sum))
}

type floorClient struct {
	dial func() (io.ReadWriteCloser, error)
}

func floorDial(e *env, network string) (client, error) {
	return &floorClient{func() (io.ReadWriteCloser, error) { return net.Dial(network, e.addr) }}, nil
}

func (c *floorClient) connect(h floorHeader) (io.ReadWriteCloser, error) {
	conn, err := c.dial()
	if err != nil {
		return nil, err
	}
	return conn, binary.Write(conn, binary.LittleEndian, &h)
}

func (c *floorClient) caller() (caller, error) { return &floorCaller{c: c}, nil }
func (c *floorClient) close() error            { return nil }

func (c *floorClient) stream(msg []byte, n int) error {
	conn, err := c.connect(floorHeader{OneWay: true, Size: uint64(len(msg)), Count: uint64(n)})
	if err != nil {
		return err
	}
	defer conn.Close()
	for range n {
		if _, err := conn.Write(msg); err != nil {
			return err
		}
	}
	var sum [8]byte
	_, err = io.ReadFull(conn, sum[:])
	return err
}

type floorCaller struct {
	c    *floorClient
	conn io.ReadWriteCloser
	buf  []byte
}

func (k *floorCaller) call(req []byte) ([]byte, error) {
	if len(k.buf) != len(req) {
		k.close()
		var err error
		if k.conn, err = k.c.connect(floorHeader{Size: uint64(len(req))}); err != nil {
			return nil, err
		}
		k.buf = make([]byte, len(req))
	}
	if _, err := k.conn.Write(req); err != nil {
		return nil, err
	}
	_, err := io.ReadFull(k.conn, k.buf)
	return k.buf, err
}

func (k *floorCaller) close() error {
	if k.conn == nil {
		return nil
	}
	return k.conn.Close()
}
