package main

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/standpipe/standpipe/internal/ring"
)

// The ring alone: the same bytes as over the bare socket, without frames, calls or anything else of standpipe's. What standpipe-msg takes beyond it is messages, and standpipe-raw, calls.

func init() {
	register(contender{name: "ring", group: ours, over: "ring", parts: partLatency + partBulk, shared: "a connection each",
		note: "standpipe's ring alone, as the floor has the socket: no frames, no calls",
		serve: func(e *env) error {
			return serveSwapped(e, ringArea, func(a *areas) {
				if c, err := newRinged(a); err == nil {
					floorConn(c)
				}
			})
		},
		dial: func(e *env) (client, error) {
			return &floorClient{func() (io.ReadWriteCloser, error) {
				a, err := dialSwapped(e.addr, ringArea)
				if err != nil {
					return nil, err
				}
				return newRinged(a)
			}}, nil
		}})
}

const ringArea = ring.Head + 1<<20

// ringed is a ring with the connection that it is beside.
type ringed struct {
	*ring.Ring
	a *areas
}

func newRinged(a *areas) (*ringed, error) {
	c := &ringed{a: a}
	var err error
	if c.Ring, err = ring.New(c, a.mine, a.theirs); err != nil {
		a.conn.Close()
		return nil, err
	}
	if ring.Futexes {
		c.Nap()
	}
	c.Hear()
	return c, nil
}

func (c *ringed) Wait() error {
	var b [64]byte
	_, err := c.a.conn.Read(b[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.a.conn.SetReadDeadline(time.Time{})
		return nil
	}
	return err
}

func (c *ringed) Poke() { c.a.conn.SetReadDeadline(time.Unix(1, 0)) }

func (c *ringed) Bell() error {
	_, err := c.a.conn.Write([]byte{0})
	return err
}

func (c *ringed) Close() error {
	c.Ring.Close()
	return c.a.conn.Close()
}
