package standpipe

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
)

// The sentinels. An error of Listen, Dial or a Conn is a *net.OpError whose chain holds at most one of them,
// besides the system's own error where there is one: ask with errors.Is, never by the text.
var (
	// ErrNoServer: nobody listens on that name.
	ErrNoServer = errors.New("nobody is listening")

	// ErrStale: there is an endpoint, but the process that made it is gone. It is an ErrNoServer. Listen never
	// returns it: it takes the name over.
	ErrStale error = &kind{"the server that made this endpoint is gone", ErrNoServer}

	// ErrInUse: Listen found the name taken by a living server, or, on Windows, by whoever was there first.
	ErrInUse = errors.New("the name is in use")

	// ErrDenied: the kernel or a Policy refused. It is an fs.ErrPermission.
	ErrDenied error = &kind{"access denied", fs.ErrPermission}

	// ErrWrongServer: Dial reached a server that DialConfig.Policy does not admit, such as somebody else's who was
	// quicker to take the name. Not a byte was sent to it. It is an ErrDenied.
	ErrWrongServer error = &kind{"somebody else serves this name", ErrDenied}

	// ErrBadName: the name can't be one, on this system or anywhere.
	ErrBadName = errors.New("not a usable name")

	// ErrNameTooLong: the path behind the name is longer than the system's limit. It is an ErrBadName.
	ErrNameTooLong error = &kind{"the name is too long", ErrBadName}

	// ErrNotSocket: the path leads to a file that is no endpoint. Listen does not remove it.
	ErrNotSocket = errors.New("not an endpoint")

	// ErrMessages: Dial found that one side keeps message boundaries and the other does not.
	ErrMessages = errors.New("only one side keeps message boundaries")
)

// kind is a sentinel that is also another one.
type kind struct {
	text string
	is   error
}

func (k *kind) Error() string { return k.text }
func (k *kind) Unwrap() error { return k.is }

// fault is a sentinel with what was wrong and what to do about it, and the system's error if there was one.
type fault struct {
	kind   error
	detail string        // what was found, and what to do
	found  func() string // the same, for errors that are often made and seldom read
	cause  error         // the system's word
}

func (f *fault) Error() string {
	s := f.kind.Error()
	switch {
	case f.detail != "":
		s += ": " + f.detail
	case f.found != nil:
		s += ": " + f.found()
	}
	if f.cause != nil {
		s += " (" + f.cause.Error() + ")"
	}
	return s
}

func (f *fault) Unwrap() []error {
	if f.cause == nil {
		return []error{f.kind}
	}
	return []error{f.kind, f.cause}
}

// opError puts err into the one envelope that this package hands out. io.EOF stays bare, as io.Reader wants it.
func opError(op string, addr Addr, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	switch e := err.(type) {
	case *net.OpError: // a net.UnixConn's own
		err = e.Err
	case *os.PathError:
		err = e.Err
	}
	var f *fault
	switch {
	case errors.As(err, &f), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		// It says more than these.
	case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrClosed):
		err = net.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = os.ErrDeadlineExceeded
	}
	return &net.OpError{Op: op, Net: network, Addr: addr, Err: err}
}
