package standpipe

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/windows"
)

// TestWinErrors walks the table: every code means one of the things that callers know, and reads and writes cover the same
// ways of a peer's going.
func TestWinErrors(t *testing.T) {
	allowed := map[winOp][]error{
		opRead:    {io.EOF, io.ErrShortBuffer, net.ErrClosed},
		opWrite:   {syscall.EPIPE, net.ErrClosed},
		opConnect: {nil, errGone, net.ErrClosed},
		opDial:    {ErrNoServer, errBusy, ErrDenied, ErrBadName, ErrNameTooLong},
		opListen:  {ErrInUse, ErrDenied, ErrBadName, ErrNameTooLong},
	}
	for op, codes := range winErrors {
		used := map[error]bool{}
		for code, want := range codes {
			ok := false
			for _, a := range allowed[op] {
				ok = ok || a == want
			}
			if got := op.means(code); got != want || !ok {
				t.Errorf("op %d, code %d (%v): means %v, want one of %v", op, code, code, got, allowed[op])
			}
			used[want] = true
		}
		for _, a := range allowed[op] {
			if !used[a] {
				t.Errorf("op %d: no code means %v", op, a)
			}
		}
		if op.means(nil) != nil {
			t.Errorf("op %d: success means %v", op, op.means(nil))
		}
		if other := syscall.Errno(windows.ERROR_NOT_ENOUGH_MEMORY); op.means(other) != other {
			t.Errorf("op %d: a code outside the table means %v", op, op.means(other))
		}
	}
	for code, meaning := range winErrors[opRead] {
		_, writes := winErrors[opWrite][code]
		if meaning == io.EOF && !writes && code != windows.ERROR_HANDLE_EOF {
			t.Errorf("code %v ends a read, and is unknown to writes", code)
		}
	}
	if len(winErrors) != len(allowed) {
		t.Errorf("%d operations in the table, %d in the test", len(winErrors), len(allowed))
	}
}

// TestWinErrorsNT: NT's own codes, which the calls of ntdll answer with, mean what their Win32 code does.
func TestWinErrorsNT(t *testing.T) {
	for status, want := range map[windows.NTStatus]error{
		windows.STATUS_ACCESS_DENIED:          ErrInUse,
		windows.STATUS_INSTANCE_NOT_AVAILABLE: ErrInUse,
		windows.STATUS_OBJECT_NAME_INVALID:    ErrBadName,
		windows.STATUS_INVALID_OWNER:          ErrDenied,
	} {
		if got := opListen.means(status); got != want {
			t.Errorf("%#x means %v, want %v", uint32(status), got, want)
		}
	}
}

// TestTakenIsNotPermission: that the name is taken must not look like a refusal, although Windows calls both the same.
func TestTakenIsNotPermission(t *testing.T) {
	l := freshListener(t, nil)
	_, err := Listen(l.Addr().String(), nil)
	if !errors.Is(err, ErrInUse) || errors.Is(err, fs.ErrPermission) {
		t.Fatal(err)
	}
}
