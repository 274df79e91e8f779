package standpipe

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
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

func TestDialWaits(t *testing.T) {
	name := freshName()
	got := make(chan error, 1)
	go func() {
		c, err := Dial(soon(t), name, &DialConfig{Wait: true})
		if err == nil {
			c.Close()
		}
		got <- err
	}()
	if _, err := Dial(soon(t), name, nil); !errors.Is(err, ErrNoServer) {
		t.Fatal(err)
	}
	l, err := Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Dial(ended, name, nil); !errors.Is(err, context.Canceled) {
		t.Fatal("dial with a context that has ended:", err)
	}
}

func TestHTTP(t *testing.T) {
	l := freshListener(t, nil)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello "+r.URL.Path) })}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return Dial(ctx, l.Addr().String(), nil)
	}}
	client := &http.Client{Transport: tr}
	for range 3 { // one after the other: then there is one connection, and it is idle
		res, err := client.Get("http://pipe/x")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(b) != "hello /x" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Fatal("Shutdown:", err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Fatal(err)
	}
	tr.CloseIdleConnections()
}
