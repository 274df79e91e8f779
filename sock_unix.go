//go:build unix

package standpipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// endpoint is one end of a connection: a socket on Go's poller.
type endpoint struct {
	*net.UnixConn
	raw  syscall.RawConn
	in   *inbox // of a connection that keeps messages
	ours bool   // of a pair: the peer is this process

	streams sync.Once
	stream  *inbox // of a byte stream, for readStream
}

// newEndpoint: buffer is the size of the kernel's buffers; 0 is the system's, but not less than leastBuffer. Where the
// system grants less than is asked for, that is what there is.
func newEndpoint(c *net.UnixConn, messages bool, buffer int) (*endpoint, error) {
	if buffer == 0 {
		buffer = leastBuffer
	}
	if buffer > 0 {
		c.SetWriteBuffer(buffer)
		c.SetReadBuffer(buffer)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		c.Close()
		return nil, err
	}
	e := &endpoint{UnixConn: c, raw: raw}
	if messages {
		e.in = newInbox()
	}
	return e, nil
}

func (e *endpoint) Read(b []byte) (int, error) {
	if e.in != nil {
		n, _, err := e.receive(b, nil)
		return n, err
	}
	n, err := e.UnixConn.Read(b)
	if err != nil {
		err = readError(err)
	}
	return n, err
}

func (e *endpoint) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil // as a message it would look like the end
	}
	n, err := e.UnixConn.Write(b)
	if err != nil {
		err = writeError(err, len(b))
	}
	return n, err
}

func (e *endpoint) writeBuffers(b *net.Buffers) (int64, error) {
	if e.in != nil {
		return writeEach(b, e.Write)
	}
	n, err := b.WriteTo(e.UnixConn)
	if err != nil {
		err = writeError(err, int(n))
	}
	return n, err
}

// readError: a peer that was killed, or closed with something unread, is the end, as on every platform.
func readError(err error) error {
	if errors.Is(err, unix.ECONNRESET) || errors.Is(err, io.EOF) {
		return io.EOF
	}
	return err
}

func writeError(err error, n int) error {
	switch {
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.ENOTCONN):
		return syscall.EPIPE
	case errors.Is(err, unix.EMSGSIZE), errors.Is(err, unix.ENOBUFS):
		return fmt.Errorf("a message of %d bytes does not fit the kernel's buffer (see ListenConfig.Buffer): %w", n, unix.EMSGSIZE)
	}
	return err
}

func (e *endpoint) closeWrite() error { return e.CloseWrite() }

func (e *endpoint) identity() (id Identity, err error) {
	if e.ours { // macOS does not say it of a pair
		return ownIdentity()
	}
	if cerr := e.raw.Control(func(fd uintptr) { id, err = peerIdentity(int(fd)) }); cerr != nil {
		return id, cerr
	}
	return id, err
}

// admitted is the second check of a client; the first was the kernel's, by the socket file's mode.
func (e *endpoint) admitted(g *guard, id Identity) error { return g.check(id, ErrDenied, "the client") }

func (e *endpoint) program(pid int) (s string, err error) {
	if cerr := e.raw.Control(func(fd uintptr) { s, err = peerProgram(int(fd), pid) }); cerr != nil {
		return "", cerr
	}
	return s, err
}

func pair() (*endpoint, *endpoint, error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	var ends [2]*endpoint
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, cerr := net.FileConn(f) // a duplicate
		f.Close()
		if cerr == nil {
			ends[i], cerr = newEndpoint(c.(*net.UnixConn), false, 0)
		}
		if cerr == nil {
			ends[i].ours = true
		}
		err = errors.Join(err, cerr)
	}
	if err != nil {
		for _, end := range ends {
			if end != nil {
				end.Close()
			}
		}
		return nil, nil, err
	}
	return ends[0], ends[1], nil
}

// dial connects. Where the server's queue is full, it waits inside ctx.
func dial(ctx context.Context, addr Addr, cfg DialConfig) (*endpoint, error) {
	network := network
	if cfg.Messages {
		if _, err := socketType(true); err != nil {
			return nil, err
		}
		network = "unixpacket"
	}
	var d net.Dialer
	for pause := newBackoff(time.Millisecond, 20*time.Millisecond); ; {
		c, err := d.DialContext(ctx, network, addr.path)
		if err == nil {
			return newEndpoint(c.(*net.UnixConn), cfg.Messages, 0)
		}
		if ctx.Err() != nil {
			return nil, contextError(ctx)
		}
		if !errors.Is(err, unix.EAGAIN) {
			return nil, dialError(addr.path, err)
		}
		if err := pause.wait(ctx); err != nil {
			return nil, fmt.Errorf("the server's queue is full, or it has reached its MaxConns: %w", err)
		}
	}
}

// dialError says what a failed connect found.
func dialError(path string, err error) error {
	var errno syscall.Errno
	errors.As(err, &errno)
	f := &fault{cause: errno}
	switch errno {
	case unix.ENOENT, unix.ENOTDIR:
		f.kind, f.detail = ErrNoServer, "there is no such socket; start the server, or wait for it (DialConfig.Wait)"
	case unix.ECONNREFUSED, unix.ENOTSOCK:
		fi, statErr := os.Stat(path)
		switch {
		case path[0] == '@' || statErr != nil:
			f.kind, f.detail = ErrNoServer, "start the server, or wait for it (DialConfig.Wait)"
		case fi.Mode()&os.ModeSocket == 0:
			f.kind, f.detail = ErrNotSocket, fmt.Sprintf("%s is a %s", path, kindOf(fi.Mode()))
		default:
			f.kind, f.detail = ErrStale, "start the server: it takes the name over"
		}
	case unix.EACCES, unix.EPERM:
		f.kind, f.detail = ErrDenied, explainDenied(path)
	case unix.EPROTOTYPE:
		f.kind, f.detail = ErrMessages, "set DialConfig.Messages as the server's ListenConfig.Messages is"
	default:
		return err
	}
	return f
}

// explainDenied finds what keeps this process from a socket: a folder that it can't enter, or the socket's own mode.
func explainDenied(path string) string {
	describe := func(p, what string) string {
		fi, err := os.Stat(p)
		if err != nil {
			return fmt.Sprintf("%s %s can't be seen by user %s", what, p, currentUser())
		}
		st := fi.Sys().(*syscall.Stat_t)
		return fmt.Sprintf("%s %s belongs to user %d, group %d, with mode %#o, and this process is user %s", what, p, st.Uid, st.Gid, fi.Mode().Perm(), currentUser())
	}
	for i := 1; i < len(path); i++ {
		if path[i] == '/' && unix.Faccessat(unix.AT_FDCWD, path[:i], unix.X_OK, unix.AT_EACCESS) != nil {
			return describe(filepath.Clean(path[:i]), "the folder")
		}
	}
	return describe(path, "the socket")
}
