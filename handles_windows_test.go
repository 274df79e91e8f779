package standpipe

import (
	"encoding/binary"
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
	"unsafe"

	"golang.org/x/sys/windows"
)

// section makes nameless shared memory that begins with text.
func section(text string) (*os.File, error) {
	sd, err := windows.SecurityDescriptorFromString("D:P") // nobody raises a lesser handle
	if err != nil {
		return nil, err
	}
	sa := &windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(*sa))
	h, err := windows.CreateFileMapping(windows.InvalidHandle, sa, windows.PAGE_READWRITE, 0, 4096, nil)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(h), "section")
	err = mapped(f, windows.FILE_MAP_WRITE, func(b []byte) { copy(b, text) })
	return f, err
}

// mapped shows fn the memory of a section.
func mapped(f *os.File, access uint32, fn func(b []byte)) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		addr, err := windows.MapViewOfFile(windows.Handle(fd), access, 0, 0, 0)
		if failed = err; err != nil {
			return
		}
		defer windows.UnmapViewOfFile(addr)
		var info windows.MemoryBasicInformation
		if failed = windows.VirtualQuery(addr, &info, unsafe.Sizeof(info)); failed == nil {
			fn(unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), info.RegionSize))
		}
	})
	return errors.Join(err, failed)
}

func cut(b []byte) string { s, _, _ := strings.Cut(string(b), "\x00"); return s }

// childFiles hands a file and a section to its server, takes both of the server's, and says what was in them.
func childFiles(name string) error {
	c, err := childDial(name)
	if err != nil {
		return err
	}
	defer c.Close()
	f, err := os.CreateTemp("", "standpipe")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	f.WriteString("the client's file")
	s, err := section("the client's memory")
	if err != nil {
		return err
	}
	if n, err := c.WriteHandles([]byte("two"), f, s); n != 3 || err != nil {
		return fmt.Errorf("WriteHandles: %d, %w", n, err)
	}
	f.Close()
	s.Close()
	b := make([]byte, 10)
	n, files, err := c.ReadHandles(b)
	if err != nil || string(b[:n]) != "yours" || len(files) != 2 {
		return fmt.Errorf("ReadHandles: %q, %v, %w", b[:n], files, err)
	}
	text, err := contents(files)
	io.WriteString(c, text)
	return err
}

// childLie names a handle that only its server has.
func childLie(arg string) error {
	name, value, _ := strings.Cut(arg, "|")
	v, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return err
	}
	c, err := childDial(name)
	if err != nil {
		return err
	}
	c.Write(rawFrame(1, v))
	c.Read(make([]byte, 1))
	return nil
}

// contents reads a file and a section, and closes them.
func contents(files []*os.File) (string, error) {
	defer closeFiles(files)
	b := make([]byte, 100)
	n, err := files[0].ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	text := string(b[:n])
	err = mapped(files[1], windows.FILE_MAP_READ, func(b []byte) { text += ", " + cut(b) })
	return text, err
}

// rawFrame is a frame of spec/handles-windows.md with data of length bytes.
func rawFrame(length int, values ...uint64) []byte {
	b := binary.LittleEndian.AppendUint32(nil, frameMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(values)))
	b = binary.LittleEndian.AppendUint64(b, uint64(length))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return append(b, make([]byte, length)...)
}

func TestHandlesAcrossProcesses(t *testing.T) {
	l := freshListener(t, nil)
	cmd := startChild(t, "files", l.Addr().String())
	c, err := l.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 10)
	n, files, err := c.ReadHandles(b)
	if err != nil || string(b[:n]) != "two" || len(files) != 2 {
		t.Fatalf("%q, %v, %v", b[:n], files, err)
	}
	if text, err := contents(files); text != "the client's file, the client's memory" || err != nil {
		t.Fatalf("%q, %v", text, err)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("the server's file"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := section("the server's memory")
	if err != nil {
		t.Fatal(err)
	}
	before := openHandles(t)
	if n, err := c.WriteHandles([]byte("yours"), f, s); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	f.Close()
	s.Close()
	if after := openHandles(t); after > before-2 {
		t.Errorf("%d handles before, %d after the two were closed", before, after)
	}
	got, err := io.ReadAll(c)
	if string(got) != "the server's file, the server's memory" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestHandlesLie(t *testing.T) {
	var last windows.Handle
	for range 500 { // so that the child has none of that number
		h, err := windows.CreateEvent(nil, 1, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer windows.CloseHandle(h)
		last = max(last, h)
	}
	l := freshListener(t, nil)
	startChild(t, "lie", fmt.Sprintf("%s|%d", l.Addr(), last))
	c, err := l.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, files, err := c.ReadHandles(make([]byte, 1)); !errors.Is(err, windows.ERROR_INVALID_HANDLE) || len(files) != 0 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := windows.SetEvent(last); err != nil {
		t.Fatal("the server's own handle was taken:", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Fatal("the connection goes on:", err)
	}
}

func TestHandlesBadFrames(t *testing.T) {
	valid := func() uint64 {
		f, err := section("")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return duplicate(t, f)
	}
	const noHandle = 0x7ffffff0
	wrong := rawFrame(1)
	wrong[0]++
	for name, c := range map[string]struct {
		frame func() []byte
		want  error
	}{
		"magic":  {func() []byte { return wrong }, errFrame},
		"bytes":  {func() []byte { return []byte("some plain bytes, not framed") }, errFrame},
		"empty":  {func() []byte { return rawFrame(0) }, errFrame},
		"count":  {func() []byte { return rawFrame(1, make([]uint64, maxHandles+1)...) }, errMaxHandles},
		"zero":   {func() []byte { return rawFrame(1, valid(), 0) }, windows.ERROR_INVALID_HANDLE},
		"pseudo": {func() []byte { return rawFrame(1, valid(), 1<<64-1, valid()) }, windows.ERROR_INVALID_HANDLE},
		"none":   {func() []byte { return rawFrame(1, valid(), noHandle, valid()) }, windows.ERROR_INVALID_HANDLE},
		"end":    {func() []byte { return rawFrame(1, valid())[:frameHead+8] }, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := connected(t, nil)
			before := openHandles(t)
			frame := c.frame()
			client.Write(frame)
			if name == "end" {
				client.Close()
			}
			_, files, err := server.ReadHandles(make([]byte, 10))
			if !errors.Is(err, c.want) || len(files) != 0 {
				t.Fatalf("%v, %v, want %v", files, err, c.want)
			}
			if name == "end" { // the server never got the value: it is the client's
				windows.CloseHandle(windows.Handle(binary.LittleEndian.Uint32(frame[frameHead:])))
				return
			}
			if after := openHandles(t); after > before {
				t.Errorf("%d handles before, %d after", before, after)
			}
			if _, err := server.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Error("the connection goes on:", err)
			}
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Error("the peer does not see the end:", n, err)
			}
		})
	}
}

// TestHandlesStream: frames, their rests and deadlines between them.
func TestHandlesStream(t *testing.T) {
	bothEnds(t, nil, func(t *testing.T, a, b *Conn) {
		e, err := section("")
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		before := openHandles(t)
		go func() {
			a.WriteHandles([]byte("abcdef"), e)
			a.WriteHandles([]byte("ghi"))
			a.WriteHandles([]byte("jkl"), e, e)
		}()
		buf := make([]byte, 4)
		for i, want := range []struct {
			text  string
			files int
			plain bool
		}{{"abcd", 1, false}, {"ef", 0, true}, {"ghi", 0, false}, {"jkl", 2, false}} {
			var n int
			var files []*os.File
			var err error
			if want.plain {
				n, err = b.Read(buf) // stays within its frame
			} else {
				n, files, err = b.ReadHandles(buf)
			}
			if string(buf[:n]) != want.text || len(files) != want.files || err != nil {
				t.Fatalf("%d: %q, %d files, %v", i, buf[:n], len(files), err)
			}
			closeFiles(files)
		}
		// A deadline within the head, and one between head and data: nothing is lost.
		frame := rawFrame(2, duplicate(t, e)) // of the client's table: both ends are this process
		for _, part := range [][]byte{frame[:10], frame[10:20], frame[20:24]} {
			a.Write(part)
			b.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if n, files, err := b.ReadHandles(buf); n != 0 || files != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(n, files, err)
			}
		}
		b.SetReadDeadline(time.Time{})
		a.Write(frame[24:])
		if n, files, err := b.ReadHandles(buf); n != 2 || len(files) != 1 || err != nil {
			t.Fatal(n, files, err)
		} else {
			closeFiles(files)
		}
		// Files that nobody asks for, and files of a frame that never ends.
		a.Write(rawFrame(2, duplicate(t, e))[:24])
		b.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		b.ReadHandles(buf)
		b.SetReadDeadline(time.Time{})
		go a.Write([]byte("xy"))
		if n, err := b.Read(buf); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		a.Write(rawFrame(2, duplicate(t, e))[:24])
		b.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		b.ReadHandles(buf)
		b.Close()
		if after := openHandles(t); after > before-1 { // b's pipe is closed
			t.Errorf("%d handles before, %d after", before, after)
		}
	})
}

func duplicate(t *testing.T, f *os.File) (v uint64) {
	t.Helper()
	values, err := (&holder{process: windows.CurrentProcess()}).push([]*os.File{f})
	if err != nil {
		t.Fatal(err)
	}
	return uint64(values[0])
}

// A value that one end exports, the other imports, and nobody twice.
func TestHandlesExport(t *testing.T) {
	bothEnds(t, nil, func(t *testing.T, a, b *Conn) {
		before := openHandles(t)
		s, err := section("exported")
		if err != nil {
			t.Fatal(err)
		}
		v, err := a.ExportHandle(s)
		if err != nil {
			t.Fatal(err)
		}
		f, err := b.ImportHandle(v)
		s.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := mapped(f, windows.FILE_MAP_READ, func(m []byte) {
			if cut(m) != "exported" {
				t.Errorf("%q", cut(m))
			}
		}); err != nil {
			t.Error(err)
		}
		f.Close()
		for _, bad := range []uint64{0, 0x7ffffffc, ^uint64(0)} {
			if f, err := b.ImportHandle(bad); err == nil && b.end.server { // at a client's end the table is its own, and anything may be in it
				f.Close()
				t.Errorf("%#x was imported", bad)
			}
		}
		if _, err := a.ExportHandle(nil); !errors.Is(err, os.ErrInvalid) {
			t.Error(err)
		}
		if after := openHandles(t); after > before {
			t.Errorf("%d handles before, %d after", before, after)
		}
	})
}

func TestHandlesRefused(t *testing.T) {
	e, err := section("")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	t.Run("messages", func(t *testing.T) {
		bothEnds(t, &ListenConfig{Messages: true}, func(t *testing.T, a, b *Conn) {
			if _, err := a.WriteHandles([]byte("x"), e); !errors.Is(err, errors.ErrUnsupported) {
				t.Error(err)
			}
			if _, _, err := b.ReadHandles(make([]byte, 1)); !errors.Is(err, errors.ErrUnsupported) {
				t.Error(err)
			}
		})
	})
	t.Run("arguments", func(t *testing.T) {
		bothEnds(t, nil, func(t *testing.T, a, b *Conn) {
			if _, err := a.WriteHandles(nil, e); !errors.Is(err, errNoBytes) {
				t.Error(err)
			}
			many := make([]*os.File, maxHandles+1)
			for i := range many {
				many[i] = e
			}
			if _, err := a.WriteHandles([]byte("x"), many...); !errors.Is(err, errMaxHandles) {
				t.Error(err)
			}
			closed, err := section("")
			if err != nil {
				t.Fatal(err)
			}
			closed.Close()
			before := openHandles(t)
			if _, err := a.WriteHandles([]byte("x"), e, closed); !errors.Is(err, syscall.EBADF) {
				t.Error(err)
			}
			if after := openHandles(t); after > before {
				t.Errorf("%d handles before, %d after", before, after)
			}
			go a.WriteHandles([]byte("x"), many[:maxHandles]...)
			n, files, err := b.ReadHandles(make([]byte, 1))
			if n != 1 || len(files) != maxHandles || err != nil {
				t.Error(n, len(files), err)
			}
			closeFiles(files)
		})
	})
	// A process that the pipe names, but that is not of the client's kind.
	for name, change := range map[string]func(s *standing){
		"user":      func(s *standing) { s.user = "S-1-5-19" },
		"session":   func(s *standing) { s.session++ },
		"integrity": func(s *standing) { s.integrity = "S-1-16-4096" },
	} {
		t.Run(name, func(t *testing.T) {
			client, server := connected(t, nil)
			change(&server.end.client)
			before := openHandles(t)
			if n, err := server.WriteHandles([]byte("x"), e); n != 0 || !errors.Is(err, errors.ErrUnsupported) {
				t.Error("push:", n, err)
			}
			if after := openHandles(t); after > before {
				t.Errorf("%d handles before, %d after", before, after)
			}
			go server.WriteHandles([]byte("plain"))
			if n, files, err := client.ReadHandles(make([]byte, 10)); n != 5 || len(files) != 0 || err != nil {
				t.Error("something was sent:", n, files, err)
			}
			mine := duplicate(t, e)
			defer windows.CloseHandle(windows.Handle(mine)) // it stays the client's
			client.Write(rawFrame(1, mine))
			if _, files, err := server.ReadHandles(make([]byte, 10)); len(files) != 0 || !errors.Is(err, errors.ErrUnsupported) {
				t.Error("pull:", files, err)
			}
		})
	}
}

// TestHandlesUndelivered: where the frame can't be sent, nothing stays behind in the client.
func TestHandlesUndelivered(t *testing.T) {
	e, err := section("")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	bothEnds(t, nil, func(t *testing.T, a, b *Conn) {
		b.Close()
		before := openHandles(t)
		if n, err := a.WriteHandles([]byte("x"), e, e); n != 0 || err == nil {
			t.Fatal(n, err)
		}
		if after := openHandles(t); after > before {
			t.Errorf("%d handles before, %d after", before, after)
		}
	})
}
