package standpipe

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/windows"
)

// winOp is what was being done when Windows answered with an error: the same code means different things.
type winOp int

const (
	opRead winOp = iota
	opWrite
	opConnect // the server waits for a client at one instance
	opDial
	opListen // an instance is made
)

var (
	// errBusy: every instance has its client. Dial tries again.
	errBusy = errors.New("every instance of the pipe is taken")
	// errGone: a client came and went before the server looked. The instance is used again.
	errGone = errors.New("the client has gone")
)

// winErrors says what a Win32 code means to each operation; nil is success. Codes that are not here go to the caller as
// they are. The codes' names are those of "System Error Codes" (learn.microsoft.com), and what pipes answer stands with
// the calls: ReadFile, WriteFile, ConnectNamedPipe, CreateFileW, NtCreateNamedPipeFile.
//
// An operation that was cancelled by a deadline never gets here: the engine remembers why it was cancelled.
var winErrors = map[winOp]map[syscall.Errno]error{
	opRead: {
		windows.ERROR_BROKEN_PIPE:        io.EOF, // the other end is closed, or its process is dead
		windows.ERROR_NO_DATA:            io.EOF, // it is being closed
		windows.ERROR_PIPE_NOT_CONNECTED: io.EOF, // the server threw the client out
		windows.ERROR_BAD_PIPE:           io.EOF,
		windows.ERROR_PIPE_LISTENING:     io.EOF,
		windows.ERROR_HANDLE_EOF:         io.EOF,
		windows.ERROR_NETNAME_DELETED:    io.EOF,
		windows.ERROR_MORE_DATA:          io.ErrShortBuffer, // the rest of the message comes with the next read
		windows.ERROR_OPERATION_ABORTED:  net.ErrClosed,
		windows.ERROR_INVALID_HANDLE:     net.ErrClosed,
	},
	opWrite: {
		windows.ERROR_BROKEN_PIPE:        syscall.EPIPE,
		windows.ERROR_NO_DATA:            syscall.EPIPE,
		windows.ERROR_PIPE_NOT_CONNECTED: syscall.EPIPE,
		windows.ERROR_BAD_PIPE:           syscall.EPIPE,
		windows.ERROR_PIPE_LISTENING:     syscall.EPIPE,
		windows.ERROR_NETNAME_DELETED:    syscall.EPIPE,
		windows.ERROR_OPERATION_ABORTED:  net.ErrClosed,
		windows.ERROR_INVALID_HANDLE:     net.ErrClosed,
	},
	opConnect: {
		windows.ERROR_PIPE_CONNECTED:     nil, // the client was quicker
		windows.ERROR_NO_DATA:            errGone,
		windows.ERROR_BROKEN_PIPE:        errGone,
		windows.ERROR_PIPE_NOT_CONNECTED: errGone,
		windows.ERROR_OPERATION_ABORTED:  net.ErrClosed,
		windows.ERROR_INVALID_HANDLE:     net.ErrClosed,
	},
	opDial: {
		windows.ERROR_FILE_NOT_FOUND:       ErrNoServer,
		windows.ERROR_PATH_NOT_FOUND:       ErrNoServer,
		windows.ERROR_PIPE_BUSY:            errBusy,
		windows.ERROR_SEM_TIMEOUT:          errBusy,
		windows.ERROR_ACCESS_DENIED:        ErrDenied,
		windows.ERROR_INVALID_NAME:         ErrBadName,
		windows.ERROR_BAD_PATHNAME:         ErrBadName,
		windows.ERROR_FILENAME_EXCED_RANGE: ErrNameTooLong,
	},
	opListen: {
		windows.ERROR_ACCESS_DENIED:        ErrInUse, // or forbidden: listen looks which
		windows.ERROR_ALREADY_EXISTS:       ErrInUse,
		windows.ERROR_PIPE_BUSY:            ErrInUse, // somebody else's pipe with a limit of instances
		windows.ERROR_INVALID_OWNER:        ErrDenied,
		windows.ERROR_PRIVILEGE_NOT_HELD:   ErrDenied,
		windows.ERROR_INVALID_NAME:         ErrBadName,
		windows.ERROR_BAD_PATHNAME:         ErrBadName,
		windows.ERROR_FILENAME_EXCED_RANGE: ErrNameTooLong,
	},
}

// means looks err up in the table.
func (op winOp) means(err error) error {
	if err == nil {
		return nil
	}
	if status, ok := err.(windows.NTStatus); ok {
		err = status.Errno()
	}
	if code, ok := err.(syscall.Errno); ok {
		if meaning, ok := winErrors[op][code]; ok {
			return meaning
		}
	}
	return err
}
