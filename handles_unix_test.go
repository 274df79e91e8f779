//go:build unix

package standpipe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/pipetest"
	"golang.org/x/sys/unix"
)

func init() { roles["take"] = takeRole }

// takeRole NAME [NOFILE]: takes handles and says what came: their number, and the text behind each. With NOFILE, it may
// have that many more descriptors open than it has.
func takeRole(args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := standpipe.Dial(ctx, args[0], nil)
	if err != nil {
		return err
	}
	defer c.Close()
	if len(args) > 1 {
		more, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		if err := leaveRoom(more); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	for {
		n, files, err := c.ReadHandles(make([]byte, 100))
		if err != nil {
			if err == io.EOF {
				fmt.Println("end")
				return nil
			}
			_, again := c.Read(make([]byte, 1))
			fmt.Println("failed", len(files), errors.Is(again, net.ErrClosed), err)
			return nil
		}
		said := []string{strconv.Itoa(n), strconv.Itoa(len(files))}
		for _, f := range files {
			flags, _ := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
			b := make([]byte, 100)
			k, _ := f.ReadAt(b, 0)
			said = append(said, fmt.Sprintf("%s/%v", b[:k], flags&unix.FD_CLOEXEC != 0))
			f.Close()
		}
		fmt.Println(strings.Join(said, " "))
	}
}

// leaveRoom limits this process to more descriptors than it has now.
func leaveRoom(more int) error {
	f, err := os.Open(os.DevNull) // the lowest free number
	if err != nil {
		return err
	}
	defer f.Close()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	set(&limit.Cur, int(f.Fd())+more)
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}

// set: FreeBSD counts in int64.
func set[T int64 | uint64](cur *T, n int) { *cur = T(n) }

// taker is a process that takes handles, and our end of its connection.
func taker(t *testing.T, args ...string) (*standpipe.Conn, *child) {
	t.Helper()
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := spawn(t, nil, "take", append([]string{name}, args...)...)
	c, err := ln.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if line := p.line(t); line != "ready" {
		t.Fatal(line)
	}
	return c, p
}

// textFile is an open file with that text.
func textFile(t *testing.T, text string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestHandlesAcross: another process reads what this one has opened, and its copies are not inherited.
func TestHandlesAcross(t *testing.T) {
	c, p := taker(t)
	one, two := textFile(t, "one"), textFile(t, "two")
	for _, round := range []struct {
		files []*os.File
		want  string
	}{
		{[]*os.File{one, two}, "3 2 one/true two/true"},
		{nil, "3 0"},
		{[]*os.File{two}, "3 1 two/true"},
		{[]*os.File{one, one}, "3 2 one/true one/true"},
	} {
		if n, err := c.WriteHandles([]byte("abc"), round.files...); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		if got := p.line(t); got != round.want {
			t.Errorf("the other process got %q, want %q", got, round.want)
		}
	}
	if b, err := io.ReadAll(one); string(b) != "one" || err != nil {
		t.Errorf("ours is not ours any more: %q, %v", b, err)
	}
	c.Close()
	if got := p.line(t); got != "end" {
		t.Error(got)
	}
}

func TestHandlesExport(t *testing.T) {
	a, _ := pipePair(t)
	if _, err := a.ExportHandle(textFile(t, "x")); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := a.ImportHandle(1); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

// TestHandlesLimit: as many as the doc says, and not one more.
func TestHandlesLimit(t *testing.T) {
	a, b := pipePair(t)
	f := textFile(t, "many")
	files := make([]*os.File, 65)
	for i := range files {
		files[i] = f
	}
	if n, err := a.WriteHandles([]byte("x"), files...); n != 0 || err == nil {
		t.Errorf("65 files: %d, %v", n, err)
	}
	if n, err := a.WriteHandles(nil, f); n != 0 || err == nil {
		t.Errorf("no byte: %d, %v", n, err)
	}
	if n, err := a.WriteHandles([]byte("x"), f, nil); n != 0 || !errors.Is(err, os.ErrInvalid) {
		t.Errorf("no file: %d, %v", n, err)
	}
	closed := textFile(t, "closed")
	closed.Close()
	if n, err := a.WriteHandles([]byte("x"), f, closed); n != 0 || errors.Is(err, net.ErrClosed) || !errors.Is(err, os.ErrInvalid) {
		t.Errorf("a closed file: %d, %v", n, err)
	}
	if n, err := a.WriteHandles([]byte("y"), files[:64]...); n != 1 || err != nil {
		t.Fatalf("64 files: %d, %v", n, err)
	}
	buf := make([]byte, 10)
	n, got, err := b.ReadHandles(buf)
	if n != 1 || buf[0] != 'y' || len(got) != 64 || err != nil {
		t.Errorf("64 files came as %q, %d, %v", buf[:n], len(got), err)
	}
	for _, f := range got {
		f.Close()
	}
}

// TestHandlesTooMany: a peer that sends more than the limit, which its own kernel allows, loses the connection; nothing of
// it stays open (TestMain counts).
func TestHandlesTooMany(t *testing.T) {
	path := filepath.Join(folder(t), "x.sock")
	ln, err := standpipe.Listen(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	raw, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c, err := ln.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fds := make([]int, 65)
	for i := range fds {
		fds[i] = 2
	}
	if _, _, err := raw.WriteMsgUnix([]byte("x"), unix.UnixRights(fds...), nil); err != nil {
		t.Fatal(err)
	}
	n, files, err := c.ReadHandles(make([]byte, 10))
	if n != 0 || len(files) != 0 || err == nil || err == io.EOF {
		t.Errorf("65 files: %d, %d, %v", n, len(files), err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection is still there: %v", err)
	}
}

// TestHandlesUnexpected: a plain Read takes the bytes, and closes the files unseen (TestMain counts). The peer of a pipe whose
// only other end went that way sees the end.
func TestHandlesUnexpected(t *testing.T) {
	a, b := pipePair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := a.WriteHandles([]byte("hello"), w); err != nil {
		t.Fatal(err)
	}
	w.Close()
	buf := make([]byte, 10)
	if n, err := b.Read(buf); string(buf[:n]) != "hello" || err != nil {
		t.Fatal(n, err)
	}
	r.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := r.Read(buf); err != io.EOF {
		t.Errorf("the file that nobody took is still open: %v", err)
	}
}

// TestHandlesNoRoom: where the receiver may not open so many, the connection ends: the sender thinks that it has handed all
// of them over.
func TestHandlesNoRoom(t *testing.T) {
	c, p := taker(t, "2")
	f := textFile(t, "f")
	if _, err := c.WriteHandles([]byte("abc"), f, f, f, f); err != nil {
		t.Fatal(err)
	}
	if got := p.line(t); !strings.HasPrefix(got, "failed 0 true") {
		t.Errorf("the other process says %q", got)
	}
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("here: %v", err)
	}
}

// TestHandlesLarge: with more bytes than the kernel's buffer takes, the files come once, with the first of them.
func TestHandlesLarge(t *testing.T) {
	a, b := pipePair(t)
	f := textFile(t, "f")
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	done := make(chan error, 1)
	go func() {
		n, err := a.WriteHandles(sent, f)
		if err == nil && n != len(sent) {
			err = fmt.Errorf("%d written", n)
		}
		a.Close()
		done <- err
	}()
	var got []byte
	count := 0
	for {
		buf := make([]byte, 10000)
		n, files, err := b.ReadHandles(buf)
		if len(files) > 0 && len(got) > 0 {
			t.Error("the file came late")
		}
		count += len(files)
		for _, f := range files {
			f.Close()
		}
		got = append(got, buf[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil || count != 1 || !bytes.Equal(got, sent) {
		t.Errorf("%v; %d files, %d bytes", err, count, len(got))
	}
}

// TestHandlesMessages: files come with their message, also where it is longer than the reader's memory.
func TestHandlesMessages(t *testing.T) {
	a, b := messagePair(t)
	f := textFile(t, "f")
	for _, text := range []string{"short", "longer than ten bytes"} {
		if _, err := a.WriteHandles([]byte(text), f); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Write([]byte("next")); err != nil {
			t.Fatal(err)
		}
		var got []byte
		count := 0
		for {
			buf := make([]byte, 10)
			n, files, err := b.ReadHandles(buf)
			got = append(got, buf[:n]...)
			count += len(files)
			for _, f := range files {
				f.Close()
			}
			if err == nil {
				break
			}
			if !errors.Is(err, io.ErrShortBuffer) {
				t.Fatal(err)
			}
		}
		if string(got) != text || count != 1 {
			t.Errorf("%q with %d files, want %q with one", got, count, text)
		}
		buf := make([]byte, 10)
		if n, err := b.Read(buf); string(buf[:n]) != "next" || err != nil {
			t.Errorf("%q, %v", buf[:n], err)
		}
	}
}

// TestMessageTooBig: a message that can't fit the kernel's buffer is refused whole, and the connection goes on.
func TestMessageTooBig(t *testing.T) {
	a, b := messagePair(t)
	if n, err := a.Write(make([]byte, 64<<20)); n != 0 || !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("64 MiB: %d, %v", n, err)
	}
	if _, err := a.Write([]byte("small")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if n, err := b.Read(buf); string(buf[:n]) != "small" || err != nil {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// TestMessageWaits: deadlines and Close end a Read and a Write of messages that wait.
func TestMessageWaits(t *testing.T) {
	for name, op := range map[string]func(c *standpipe.Conn) error{
		"read": func(c *standpipe.Conn) error { _, err := c.Read(make([]byte, 1)); return err },
		"take": func(c *standpipe.Conn) error { _, _, err := c.ReadHandles(make([]byte, 1)); return err },
		"write": func(c *standpipe.Conn) error {
			for {
				if _, err := c.Write(make([]byte, 1<<12)); err != nil {
					return err
				}
			}
		},
	} {
		a, _ := messagePair(t)
		done := make(chan error, 1)
		go func() { done <- op(a) }()
		a.SetDeadline(time.Now().Add(20 * time.Millisecond))
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v at the deadline", name, err)
		}
		a.SetDeadline(time.Time{})
		go func() { done <- op(a) }()
		select {
		case err := <-done:
			t.Errorf("%s: %v before Close", name, err)
			continue
		case <-time.After(20 * time.Millisecond):
		}
		a.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v at Close", name, err)
		}
	}
}

func pipePair(t *testing.T) (a, b *standpipe.Conn) {
	t.Helper()
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}
