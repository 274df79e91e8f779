package main

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/internal/mem"
)

// areas are a connection, and memory that each side made and handed over to the other through it. The memory stays as long as the process: somebody may look at it still when
// the connection ends.
type areas struct {
	conn         *standpipe.Conn
	mine, theirs []byte
	gone         atomic.Bool // of watch
}

// watch notes the end of the connection, on which nothing comes.
func (a *areas) watch() {
	a.conn.Read(make([]byte, 1))
	a.gone.Store(true)
}

// swap makes an area of size bytes, hands it over, and takes the peer's.
func swap(c *standpipe.Conn, size int) (*areas, error) {
	made, err := mem.Create(int64(size))
	if err != nil {
		return nil, err
	}
	f := made.Take()
	defer f.Close()
	b := binary.LittleEndian.AppendUint64(nil, uint64(size))
	if _, err = c.WriteHandles(b, f); err != nil {
		return nil, err
	}
	_, files, err := c.ReadHandles(b)
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		return nil, errors.New("no memory came")
	}
	got, err := mem.Map(files[0], int64(binary.LittleEndian.Uint64(b)))
	if err != nil {
		return nil, err
	}
	return &areas{conn: c, mine: made.Bytes(), theirs: got.Bytes()}, nil
}

func dialSwapped(addr string, size int) (*areas, error) {
	c, err := standpipe.Dial(context.Background(), addr, nil)
	if err != nil {
		return nil, err
	}
	a, err := swap(c, size)
	if err != nil {
		c.Close()
	}
	return a, err
}

// serveSwapped calls serve in a goroutine for each client. An error of one is seen at its own end: the connection closes.
func serveSwapped(e *env, size int, serve func(a *areas)) error {
	ln, err := standpipe.Listen(e.socket(), nil)
	if err != nil {
		return err
	}
	e.ready(e.socket())
	return accept(ln, func(c net.Conn) {
		conn := c.(*standpipe.Conn)
		if a, err := swap(conn, size); err == nil {
			serve(a)
		}
		conn.Close()
	})
}
