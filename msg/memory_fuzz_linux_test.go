package msg_test

import (
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/internal/mem"
	"github.com/standpipe/standpipe/msg"
)

const fuzzHello = "max-message: 65536 | max-buffers: 1048576 | share: KIND | ring: 1"

// fuzzFiles are what the third byte of a file chooses.
var fuzzFiles = []string{"4096 sealed", "20480 sealed", "65536 sealed", "8192 area", "69632 area", "65536 none", "65536 shrink+grow+seal", "0 pipe"}

// FuzzMemory lets a dialer send whatever bytes with whatever files behind an honest hello, and then change its area: the listener gets
// messages, or an error that says what is wrong, and ends in time; and nothing of it is left.
//
// A file has 3 bytes: which of the body's it goes with, and which it is. A change has 9: which field, and its value.
func FuzzMemory(f *testing.F) {
	for _, v := range sessions(f) {
		if files, ok := fuzzSeed(f, v); ok {
			f.Add(v.Body, files, v.Area, v.Number(f, "head"), v.Number(f, "window"), []byte{})
			f.Add(v.Body, files, v.Area, v.Number(f, "head"), v.Number(f, "window"), []byte("\x00\x00\x10\x00\x00\x00\x00\x00\x00\x02\x40\x00\x00\x00\x00\x00\x00\x00"))
		}
	}
	f.Fuzz(func(t *testing.T, body, files, area []byte, head, window uint64, changes []byte) {
		if len(body) > 16<<10 || len(files) > 3*80 || len(area) > 4096 || len(changes) > 9*16 {
			return
		}
		defer debug.SetGCPercent(debug.SetGCPercent(-1)) // or it closes the files that were forgotten
		before := held(t)
		forge(t, body, files, area, head, window, changes)
		for deadline := time.Now().Add(patience / 5); ; time.Sleep(50 * time.Microsecond) {
			left := held(t)
			maps.DeleteFunc(left, func(key string, _ bool) bool { return before[key] })
			if len(left) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("left behind: %v", slices.Sorted(maps.Keys(left)))
			}
		}
	})
}

// fuzzSeed is a vector's list of files, in bytes.
func fuzzSeed(tb testing.TB, v msg.Vector) (list []byte, ok bool) {
	d := dialer{t: tb, v: v}
	items := d.list("files")
	if len(items) > 66 || v.Head["hello"] == "" || !strings.Contains(v.Head["hello"], "KIND") {
		return nil, false
	}
	for _, item := range items {
		at, what := d.cut(item)
		kind := slices.Index(fuzzFiles, what)
		if kind < 0 {
			return nil, false
		}
		list = append(binary.LittleEndian.AppendUint16(list, uint16(at)), byte(kind))
	}
	return list, true
}

// forge is one session.
func forge(t *testing.T, body, files, area []byte, head, window uint64, changes []byte) {
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	l := &echoer{ch: msg.New(b, &msg.Config{MaxMessage: 1 << 16, MaxShared: 1 << 20}), done: make(chan error, 1)}
	defer l.ch.Close()
	go l.run()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		discard(a)
	}()
	d := &dialer{t: t, c: a, v: msg.Vector{Head: map[string]string{"hello": fuzzHello}, Body: body, Area: area}}
	if d.mine, err = mem.Create(69632); err != nil {
		t.Fatal(err)
	}
	defer d.mine.Close()
	copy(d.mine.Bytes()[4096:], area)
	field(d.mine, 0).Store(head)
	field(d.mine, 8).Store(window)
	if d.throw(files) == nil {
		for ; len(changes) >= 9; changes = changes[9:] {
			at := []int{0, 8, 128, 256, 384}[int(changes[0])%5]
			field(d.mine, at).Store(binary.LittleEndian.Uint64(changes[1:]))
			a.Write([]byte{0, 0, 0, 0, 7, 0, 0, 0}) // where that fails, the listener has died
		}
	}
	a.Close()
	select {
	case err = <-l.done:
	case <-time.After(patience):
		t.Fatal("the listener does not end")
	}
	<-drained
	var pe *msg.ProtocolError
	switch {
	case errors.As(err, &pe) && !pe.Remote, errors.As(err, &pe) && slices.Contains(append(body, area...), 2):
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET):
	default:
		t.Fatalf("Recv says %v", err)
	}
}

// throw sends the hello, and the body with its files.
func (d *dialer) throw(files []byte) error {
	d.c.SetWriteDeadline(time.Now().Add(patience))
	if _, err := d.c.Write(d.hello()); err != nil {
		return err
	}
	with := map[int][]string{}
	cuts := []int{0, len(d.v.Body)}
	for ; len(files) >= 3; files = files[3:] {
		at := int(binary.LittleEndian.Uint16(files)) % (len(d.v.Body) + 1)
		with[at] = append(with[at], fuzzFiles[int(files[2])%len(fuzzFiles)])
		cuts = append(cuts, at)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	for i, at := range cuts[:len(cuts)-1] {
		list := with[at]
		if err := d.write(d.v.Body[at:cuts[i+1]], list[:min(len(list), 64)]); err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				d.t.Fatal("the listener does not read any more")
			}
			return err
		}
	}
	return nil
}

// discard reads until the end, and closes what comes.
func discard(c *standpipe.Conn) {
	buf := make([]byte, 64<<10)
	for {
		_, files, err := c.ReadHandles(buf)
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			return
		}
	}
}

// held is what this process has: descriptors, and mappings of shared memory.
func held(t *testing.T) map[string]bool {
	list := map[string]bool{}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasSuffix(to, "/fd") && !strings.HasPrefix(to, "anon_inode:[eventpoll]") {
			list[e.Name()+" "+to] = true
		}
	}
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "/memfd:") {
			list[line] = true
		}
	}
	return list
}
