package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"
)

// stdio is this program's stdin and stdout as an end. There is one for the whole program.
type stdio struct {
	in     *source
	rest   []byte // of the chunk that is being read
	chunk  []byte
	out    io.Writer
	once   sync.Once
	closed chan struct{}
}

func newStdio(in io.Reader, out io.Writer) *stdio {
	return &stdio{in: newSource(in), out: out, closed: make(chan struct{})}
}

func (s *stdio) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		select {
		case chunk, more := <-s.in.chunks:
			switch {
			case !more && s.in.err != nil:
				return 0, s.in.err
			case !more:
				return 0, io.EOF
			}
			s.chunk, s.rest = chunk, chunk
		case <-s.closed:
			return 0, net.ErrClosed
		}
	}
	n := copy(b, s.rest)
	if s.rest = s.rest[n:]; len(s.rest) == 0 {
		s.in.free <- s.chunk
	}
	return n, nil
}

func (s *stdio) Write(b []byte) (int, error) { return s.out.Write(b) }

// CloseWrite closes stdout, so that what reads it sees the end.
func (s *stdio) CloseWrite() error {
	if f, ok := s.out.(*os.File); ok {
		return f.Close()
	}
	return nil
}

func (s *stdio) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// command is a process whose stdin and stdout are an end.
type command struct {
	cmd    *exec.Cmd
	in     *os.File // what it reads
	out    *os.File // what it prints
	over   chan struct{}
	err    error // behind over: how it ended
	killed atomic.Bool
	once   sync.Once
}

// commandGrace is how long a command may take to end when nobody listens to it any more.
const commandGrace = 2 * time.Second

func startCommand(args []string, errs io.Writer) (*command, error) {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirIn.Close(), in.Close())
	}
	c := &command{cmd: exec.Command(args[0], args[1:]...), in: in, out: out, over: make(chan struct{})}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = theirIn, theirOut, errs
	if l, ok := errs.(*lockedWriter); ok {
		if f, ok := l.w.(*os.File); ok {
			c.cmd.Stderr = f // itself, so that the command knows a terminal when it has one
		}
	}
	c.cmd.WaitDelay = commandGrace // for who has inherited its stderr
	err = c.cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		in.Close()
		out.Close()
		return nil, fmt.Errorf("the command %q can't be started: %w", args[0], err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.over)
	}()
	return c, nil
}

func (c *command) Read(b []byte) (int, error)  { return c.out.Read(b) }
func (c *command) Write(b []byte) (int, error) { return c.in.Write(b) }
func (c *command) CloseWrite() error           { return c.in.Close() }

// exited says whether a side was a command, and has ended, or does within patience.
func (s *side) exited(patience time.Duration) bool {
	c, ok := s.end.(*command)
	if !ok {
		return false
	}
	select {
	case <-c.over:
		return true
	case <-time.After(patience):
		return false
	}
}

// commandError is how a command of a relay ended, where that was not well. Its code is the program's own.
type commandError struct {
	name string
	code int
	err  error
}

func (e *commandError) Error() string { return fmt.Sprintf("the command %q: %v", e.name, e.err) }
func (e *commandError) Unwrap() error { return e.err }

// failure says how a side that is a command, and was closed, ended, where that was not well, and not our doing.
func (s *side) failure() error {
	c, ok := s.end.(*command)
	if !ok || c.killed.Load() || c.err == nil {
		return nil
	}
	code := exitFailed
	if n := c.cmd.ProcessState.ExitCode(); n > 0 {
		code = n
	}
	return &commandError{s.place.args[0], code, c.err}
}

// Close ends the command: by the end of its stdin, and where that does not help, by force. The pipes are closed by others: where a
// read or write of them waits, on Windows that may wait until the process is gone.
func (c *command) Close() error {
	c.once.Do(func() {
		go c.in.Close()
		kill := time.AfterFunc(commandGrace, func() {
			c.killed.Store(true)
			c.cmd.Process.Kill()
		})
		defer kill.Stop()
		<-c.over
		go c.out.Close()
	})
	return nil
}

// lockedWriter is one that several may write to at once.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
