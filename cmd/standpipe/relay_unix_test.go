//go:build unix

package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/pipetest"
	"github.com/standpipe/standpipe/rpc"
)

// relayDiffers are the promises of a connection that a relay does not keep.
var relayDiffers []string

const privateMode = true

// Files that are handed over arrive, with their bytes, and the relay keeps none.
func TestRelayFiles(t *testing.T) {
	before := openFiles(t)
	for _, traced := range []bool{false, true} {
		p := &pair{}
		var rec *recorder
		if traced {
			rec = newRecorder("x", io.Discard, newViewer(false, &printer{w: io.Discard}), io.Discard)
			p.tap = &connTap{r: rec, n: 1}
		}
		a, b, ended := pairHere(t, p)
		for i := range 50 {
			f, err := os.Create(filepath.Join(t.TempDir(), "file"))
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString("content")
			if _, err := a.WriteHandles([]byte{byte(i)}, f, f); err != nil {
				t.Fatal(err)
			}
			f.Close()
			buf := make([]byte, 8)
			n, files, err := b.ReadHandles(buf)
			if n != 1 || buf[0] != byte(i) || len(files) != 2 || err != nil {
				t.Fatalf("file %d: %d bytes, %d files, %v", i, n, len(files), err)
			}
			got := make([]byte, 7)
			if _, err := files[1].ReadAt(got, 0); err != nil || string(got) != "content" {
				t.Fatalf("%q, %v", got, err)
			}
			closeAll(files)
		}
		a.Close()
		b.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if rec != nil { // it closes the files that it has shown
			if err := rec.end(); err != nil {
				t.Error(err)
			}
		}
	}
	if after := openFiles(t); after > before+2 {
		t.Errorf("%d files were open before, %d are now", before, after)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A file that can't go on is lost, and that is said.
func TestRelayFilesLost(t *testing.T) {
	ln, target := listenHere(t, "tcp")
	ready, stop := relayHere(t, "relay", pipetest.Name(t), target)
	c := dialHere(t, "name", ready).(*standpipe.Conn)
	if _, err := c.WriteHandles([]byte("x"), os.Stdin); err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(make([]byte, 8)); n != 1 || err != nil {
		t.Error(n, err)
	}
	c.Close()
	s.Close()
	if _, errs := stop(); !strings.Contains(errs, "1 files were handed over, and lost") {
		t.Error(errs)
	}
}

// bulk is a value with memory beside it.
type bulk struct {
	Data msg.Buffer `json:"data"`
}

// Two programs share memory through a relay of two sockets, and get copies through one of TCP.
func TestRelaySharing(t *testing.T) {
	s := rpc.NewServer(nil)
	shared := make(chan bool, 1)
	rpc.Handle(s, "bulk", func(ctx context.Context, in bulk) (int, error) {
		shared <- in.Data.Shared()
		sum := 0
		for _, c := range in.Data.Bytes() {
			sum += int(c)
		}
		return sum, nil
	})
	rpc.Handle(s, "echo", func(_ context.Context, in int) (int, error) { return in, nil })
	name := serveHere(t, s)
	near, _ := relayHere(t, "relay", pipetest.Name(t), name)
	traced, _ := relayHere(t, "trace", "--as", pipetest.Name(t), name)
	plain, _ := relayHere(t, "trace", "--no-share", "--as", pipetest.Name(t), name)
	tcp, _ := relayHere(t, "relay", "tcp::0", name)
	far, _ := relayHere(t, "relay", pipetest.Name(t), tcp)
	for at, want := range map[string]bool{name: sharesHere, near: sharesHere, traced: sharesHere, plain: false, far: false} {
		p, err := rpc.Dial(t.Context(), at, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 { // until calls go through the ring
			if got, err := rpc.Call[int](t.Context(), p, "echo", i); got != i || err != nil {
				t.Fatal(got, err)
			}
		}
		for range 3 {
			b, err := p.NewBuffer(t.Context(), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for i := range b.Bytes() {
				b.Bytes()[i] = 1
			}
			got, err := rpc.Call[int](t.Context(), p, "bulk", bulk{b})
			if got != 1<<20 || err != nil {
				t.Errorf("%s: %d, %v", at, got, err)
				break
			}
			if got := <-shared; got != want {
				t.Errorf("%s: shared is %v", at, got)
			}
		}
		p.Close()
	}
}

// Somebody else's program behind a relay is not taken for the relay's user's: it is not offered memory, whose changes nobody would look for.
func TestRelayOtherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can run programs as somebody else")
	}
	dir, err := os.MkdirTemp("", "standpipe-relay-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "standpipe"), program, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	name := serveHere(t, newServer())
	ready, stop := relayHere(t, "relay", "-v", "--policy", "anyone", filepath.Join(dir, "sock"), name)
	cmd := exec.Command(filepath.Join(dir, "standpipe"), "call", "--policy", "anyone", ready, "echo", "5")
	cmd.Args[0] = "standpipe"
	cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir, "PATH=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if string(out) != "5\n" || err != nil {
		t.Errorf("%s, %v", out, err)
	}
	if _, errs := stop(); !strings.Contains(errs, "the two sides are not both of this relay's own user") || !strings.Contains(errs, "open: user 65534") {
		t.Error(errs)
	}
}
