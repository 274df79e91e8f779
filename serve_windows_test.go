package standpipe

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestKilledPeer: a client and a server that are killed.
func TestKilledPeer(t *testing.T) {
	wantEOF := func(c net.Conn) {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := c.Read(make([]byte, 10)); n != 0 || err != io.EOF {
			t.Fatalf("after the kill: %d, %v", n, err)
		}
	}
	l := freshListener(t, nil)
	cmd := startChild(t, "hold", l.Addr().String())
	c, err := l.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if c.Identity().PID != cmd.Process.Pid {
		t.Errorf("the client is %v, its process %d", c.Identity(), cmd.Process.Pid)
	}
	cmd.Process.Kill()
	wantEOF(c)

	name := freshName()
	cmd = startChild(t, "serve", name)
	c, err = Dial(soon(t), name, &DialConfig{Wait: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if c.Identity().PID != cmd.Process.Pid {
		t.Errorf("the server is %v, its process %d", c.Identity(), cmd.Process.Pid)
	}
	cmd.Process.Kill()
	wantEOF(c)
	l, err = Listen(name, nil)
	if err != nil {
		t.Fatalf("the name of a killed server: %v", err)
	}
	l.Close()
}
