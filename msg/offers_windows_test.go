package msg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/internal/ring"
	"github.com/standpipe/standpipe/pipetest"
)

// A client that has closed may have something else by the value that it announced, by the time the server takes it. What was sent counts all
// the same; what refers to the segment does not.
func TestOfferGone(t *testing.T) {
	for _, area := range []bool{false, true} {
		a, b := sharers(t, nil)
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		value, err := a.sh.line.export(f)
		if err != nil {
			t.Fatal(err)
		}
		size := uint64(64 << 10)
		if area {
			size += 4096
		}
		if err := a.w.announce(segmentFrame{number: 1, ring: area, size: size, handle: value}, f); err != nil {
			t.Fatal(err)
		}
		if err := a.Send(Message{Data: []byte("hello")}); err != nil {
			t.Fatal(err)
		}
		if m, err := b.Recv(); err != nil || string(m.Data) != "hello" {
			t.Fatal(m, err)
		}
		refer(t, a, 1, 100)
		_, err = b.Recv()
		var pe *ProtocolError
		if !errors.As(err, &pe) || pe.Remote || !strings.Contains(pe.Text, "segment 1") {
			t.Error(err)
		}
	}
}

// What a server has put into its client's process, and the client has not received, is closed by one of them, whoever closes first. TestMain
// finds what is left.
func TestNeverReceived(t *testing.T) {
	closes := map[string]func(server, client *Channel){
		"server first": func(server, client *Channel) { server.Close(); client.Close() },
		"client first": func(server, client *Channel) { client.Close(); server.Close() },
		"client busy": func(server, client *Channel) {
			server.Close()
			if client.sh.agreed.Load() {
				client.r.mu.Lock()
				time.AfterFunc(50*time.Millisecond, client.r.mu.Unlock)
			}
			client.Close()
		},
		"aborted": func(server, client *Channel) {
			client.w.abort("enough")
			client.w.finish() // flush leaves it to who writes
			client.c.Close()
			var err error
			for err == nil {
				_, err = server.Recv()
			}
			if pe, _ := err.(*ProtocolError); pe == nil || !pe.Remote {
				t.Error(err)
			}
		},
	}
	for how, end := range closes {
		for _, heard := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/heard=%t", how, heard), func(t *testing.T) { end(withHandles(t, heard)) })
		}
	}
}

// withHandles are a server that has announced an area and a buffer, and its client, which has not received of them.
func withHandles(t *testing.T, heard bool) (server, client *Channel) {
	t.Helper()
	x, y := pipetest.Pair(t, nil, nil)
	server, client = New(x, nil), New(y, nil)
	t.Cleanup(func() { server.Close(); client.Close() })
	hello := make(chan error, 1)
	go func() {
		_, err := server.Greet()
		hello <- err
	}()
	if heard {
		if _, err := client.Greet(); err != nil {
			t.Fatal(err)
		}
	} else if err := client.SendData(t.Context(), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := <-hello; err != nil {
		t.Fatal(err)
	}
	server.sh.maker.mu.Lock()
	area, err := server.sh.maker.create(ring.Head+ringRoom, true) // as makeArea, which has not gone on yet
	server.sh.maker.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(area.close)
	buf, err := server.NewBuffer(t.Context(), 64<<10)
	if err != nil || !buf.Shared() {
		t.Fatal(buf, err)
	}
	if err := server.SendBuffers(t.Context(), []Buffer{buf}); err != nil {
		t.Fatal(err)
	}
	return server, client
}
