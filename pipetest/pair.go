package pipetest

import (
	"context"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
)

// patience is how long a step may take that takes milliseconds when all is well.
const patience = 20 * time.Second

// Pair is a connection over a fresh endpoint: the server's end and the client's. Both configs may be nil. The ends are
// closed when the test ends, if they are not before.
func Pair(t testing.TB, listen *standpipe.ListenConfig, dial *standpipe.DialConfig) (server, client *standpipe.Conn) {
	t.Helper()
	name := Name(t)
	ln, err := standpipe.Listen(name, listen)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	type accepted struct {
		c   *standpipe.Conn
		err error
	}
	done := make(chan accepted, 1)
	go func() {
		c, err := ln.AcceptConn()
		done <- accepted{c, err}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err = standpipe.Dial(ctx, name, dial)
	if err != nil {
		ln.Close()
		if a := <-done; a.c != nil {
			a.c.Close()
		}
		t.Fatal(err)
	}
	a := <-done
	if a.err != nil {
		client.Close()
		t.Fatal(a.err)
	}
	t.Cleanup(func() {
		client.Close()
		a.c.Close()
	})
	return a.c, client
}
