package standpipe_test

import (
	"context"
	"net"
	"testing"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/pipetest"
	"golang.org/x/net/nettest"
)

// ends makes the two ends of a connection, the client's first.
func ends(t *testing.T, cfg *standpipe.ListenConfig) nettest.MakePipe {
	return func() (a, b net.Conn, stop func(), err error) {
		b, a = pipetest.Pair(t, cfg, nil)
		return a, b, func() { a.Close(); b.Close() }, nil
	}
}

// TestConformBuffers: the suites run with the default elsewhere; here with buffers that most writes do not fit.
func TestConformBuffers(t *testing.T) {
	t.Run("4 KiB", func(t *testing.T) { pipetest.TestConn(t, ends(t, &standpipe.ListenConfig{Buffer: 4096}), "CloseWrite") })
	t.Run("tiny", func(t *testing.T) { nettest.TestConn(t, ends(t, &standpipe.ListenConfig{Buffer: 100})) })
}

// TestConformBacklog: more instances than CPUs.
func TestConformBacklog(t *testing.T) {
	pipetest.TestListener(t, func() (net.Listener, func(context.Context) (net.Conn, error), error) {
		ln, err := standpipe.Listen(pipetest.Name(t), &standpipe.ListenConfig{Backlog: 16})
		return ln, func(ctx context.Context) (net.Conn, error) { return standpipe.Dial(ctx, ln.Addr().String(), nil) }, err
	})
}
