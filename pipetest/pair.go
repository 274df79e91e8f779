package pipetest

import (
	"context"
	"net"
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
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, s, err := connect(ctx, ln, func(ctx context.Context) (net.Conn, error) { return standpipe.Dial(ctx, name, dial) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		s.Close()
	})
	return s.(*standpipe.Conn), c.(*standpipe.Conn)
}
