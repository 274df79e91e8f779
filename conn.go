package standpipe

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// A Conn is one end of a connection. It implements net.Conn.
//
// Read and Write may be called at the same time, and each by several goroutines, which then take turns. Deadlines and
// Close may be set and called at any time; both end a Read or Write that waits. Neither keeps the slice that it was
// given after it has returned.
type Conn struct {
	end     *endpoint
	addr    Addr
	id      Identity
	release func()
	closing sync.Once
}

// newConn: release, where there is one, is called once when the Conn is closed.
func newConn(end *endpoint, addr Addr, id Identity, release func()) *Conn {
	return &Conn{end: end, addr: addr, id: id, release: release}
}

// Pipe makes two ends of a connection that has no name, within this process. It is closed like any other.
func Pipe() (*Conn, *Conn, error) {
	addr := Addr{name: "anonymous", path: "anonymous"}
	a, b, err := pair()
	if err != nil {
		return nil, nil, opError("pipe", addr, err)
	}
	var conns [2]*Conn
	for i, end := range []*endpoint{a, b} {
		id, err := end.identity()
		if err != nil {
			a.Close()
			b.Close()
			return nil, nil, opError("pipe", addr, err)
		}
		conns[i] = newConn(end, addr, id, nil)
	}
	return conns[0], conns[1], nil
}

// Identity is who is at the other end. It was held against the Policy before the Conn was handed out.
func (c *Conn) Identity() Identity {
	id := c.id
	id.Groups = append([]string(nil), id.Groups...)
	return id
}

// Program is the path of the program that the peer's process runs, for people and logs. On Linux it is read through
// SO_PEERPIDFD where the kernel has it, so that it can't be another process's that got the same pid; elsewhere that is
// not certain. The error is errors.ErrUnsupported where the system does not tell, fs.ErrNotExist where the process is
// gone, and fs.ErrPermission where it may not be looked at.
func (c *Conn) Program() (string, error) {
	s, err := c.end.program(c.id.PID)
	return s, opError("program", c.addr, err)
}

// Read reads what has come, at most len(b) bytes, and waits for some. At the end, when the peer has closed or died and
// everything was read, it returns io.EOF; that the peer has read all that was sent to it can't be seen from here.
//
// With Messages, a Read returns one message. Where b is too short for it, the error is io.ErrShortBuffer beside the
// len(b) bytes that fit, and the next Read goes on with the rest of the same message: nothing is cut.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.end.Read(b)
	read()
	if err != nil {
		return n, opError("read", c.addr, err)
	}
	return n, nil
}

// Write writes all of b, in one message where the connection keeps messages; then b must fit the system's buffer
// (ListenConfig.Buffer). Nothing is written where b is empty. Where the peer has gone, the error is syscall.EPIPE.
// Where a deadline ends it, a part of b may have been sent: on Unix as much as it says, on Windows an unknown part, so that the
// connection is then good for closing only.
func (c *Conn) Write(b []byte) (int, error) {
	written()
	n, err := c.end.Write(b)
	if err != nil {
		return n, opError("write", c.addr, err)
	}
	return n, nil
}

// WriteBuffers writes the pieces of b as net.Buffers.WriteTo does, with one system call where the platform has one for that
// (writev); it takes from b what it has written. On a connection that keeps messages each piece is a message.
func (c *Conn) WriteBuffers(b *net.Buffers) (int64, error) {
	written()
	n, err := c.end.writeBuffers(b)
	if err != nil {
		return n, opError("write", c.addr, err)
	}
	return n, nil
}

// writeEach writes the pieces one after the other, and takes from b what was written.
func writeEach(b *net.Buffers, write func([]byte) (int, error)) (sum int64, err error) {
	for len(*b) > 0 && err == nil {
		n := 0
		if len((*b)[0]) > 0 {
			n, err = write((*b)[0])
		}
		sum += int64(n)
		if (*b)[0] = (*b)[0][n:]; err == nil {
			*b = (*b)[1:]
		}
	}
	return sum, err
}

// CloseWrite tells the peer that nothing more will come: it reads io.EOF, and can still be read from. Windows pipes have
// no such thing: errors.ErrUnsupported. (The msg and rpc packages end streams by a frame, everywhere.)
func (c *Conn) CloseWrite() error { return opError("close", c.addr, c.end.closeWrite()) }

// WriteHandles writes b, of at least one byte, and with it hands over files, which stay the caller's to close; none is
// fine. The peer must take them by ReadHandles: a plain Read closes them unseen on Unix, and sees framing bytes on Windows,
// where ReadHandles in turn takes only what WriteHandles wrote (spec/handles-windows.md). At most 64 files go at once.
//
// On Unix they travel by SCM_RIGHTS. On Windows the server's side duplicates them, into or out of the client's process,
// after it has made sure that that process is the client's user's; where it may not, the error is
// errors.ErrUnsupported. There, any kernel handle can go, sections of shared memory included. Not available where the
// connection keeps messages on Windows.
func (c *Conn) WriteHandles(b []byte, files ...*os.File) (int, error) {
	switch {
	case len(b) == 0:
		return 0, opError("write", c.addr, errNoBytes)
	case len(files) > maxHandles:
		return 0, opError("write", c.addr, errMaxHandles)
	}
	written()
	n, err := c.end.writeHandles(b, files)
	return n, opError("write", c.addr, err)
}

// maxHandles is how many files go with one write. The kernel's own limit is 253 on Linux (SCM_MAX_FD).
const maxHandles = 64

var (
	errMaxHandles = fmt.Errorf("at most %d files can go at once", maxHandles)
	errNoBytes    = errors.New("WriteHandles needs at least one byte to send along")
)

// ReadHandles is Read, and takes the files that came with what was read; they are the caller's to close, and are not
// inherited by children. More than 64 files at once end the connection.
func (c *Conn) ReadHandles(b []byte) (int, []*os.File, error) {
	n, files, err := c.end.readHandles(b)
	read()
	return n, files, opError("read", c.addr, err)
}

// ExportHandle hands f over to the peer, on Windows: it returns the value by which the peer's ImportHandle takes a duplicate. f must
// stay open until it has. It is for protocols that carry the value in frames of their own; WriteHandles does the same, with a
// frame around it, and has the conditions. What a client never imports stays open in its process until that ends. On other systems
// files travel with bytes only: errors.ErrUnsupported.
func (c *Conn) ExportHandle(f *os.File) (value uint64, err error) {
	value, err = c.end.exportHandle(f)
	return value, opError("write", c.addr, err)
}

// ImportHandle takes what the peer's ExportHandle has handed over, once: the file is the caller's to close. The value is the peer's word
// (spec/handles-windows.md).
func (c *Conn) ImportHandle(value uint64) (*os.File, error) {
	f, err := c.end.importHandle(value)
	return f, opError("read", c.addr, err)
}

// RevokeHandle undoes an ExportHandle of f, which gave that value, where the peer has not imported it and will not: the value was
// never sent, or the peer has closed. It is for not leaving handles in a process that does not know of them.
func (c *Conn) RevokeHandle(value uint64, f *os.File) error {
	return opError("write", c.addr, c.end.revokeHandle(value, f))
}

// Close ends the connection. Reads and writes that wait return net.ErrClosed. What was written before is still
// delivered. A second Close returns net.ErrClosed.
func (c *Conn) Close() error {
	err := net.ErrClosed
	c.closing.Do(func() {
		err = c.end.Close()
		if c.release != nil {
			c.release()
		}
	})
	return opError("close", c.addr, err)
}

// LocalAddr is the Addr of the endpoint: both ends have the same.
func (c *Conn) LocalAddr() net.Addr { return c.addr }

// RemoteAddr is the Addr of the endpoint: both ends have the same.
func (c *Conn) RemoteAddr() net.Addr { return c.addr }

// SetDeadline sets both deadlines. A Read or Write that waits beyond it returns os.ErrDeadlineExceeded; the zero time
// is no deadline.
func (c *Conn) SetDeadline(t time.Time) error { return opError("set", c.addr, c.end.SetDeadline(t)) }

// SetReadDeadline sets the deadline of reads, also of one that waits already.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return opError("set", c.addr, c.end.SetReadDeadline(t))
}

// SetWriteDeadline sets the deadline of writes, also of one that waits already. See Write.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return opError("set", c.addr, c.end.SetWriteDeadline(t))
}
