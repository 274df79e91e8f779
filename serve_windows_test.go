package standpipe

import (
	"io"
	"os/exec"
	"testing"
	"time"
)

// TestKilledPeer: a client and a server that are killed.
func TestKilledPeer(t *testing.T) {
	kill := func(c *Conn, peer *exec.Cmd) {
		t.Helper()
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if c.Identity().PID != peer.Process.Pid {
			t.Errorf("the peer is %v, its process %d", c.Identity(), peer.Process.Pid)
		}
		peer.Process.Kill()
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
	kill(c, cmd)

	name := freshName()
	cmd = startChild(t, "serve", name)
	c, err = Dial(soon(t), name, &DialConfig{Wait: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	kill(c, cmd)
	l, err = Listen(name, nil)
	if err != nil {
		t.Fatalf("the name of a killed server: %v", err)
	}
	l.Close()
}
