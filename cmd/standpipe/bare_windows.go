package main

import (
	"context"
	"net"

	"github.com/standpipe/standpipe"
)

// bareText is what the bare way is called. Go has no pipes of its own that can be listened on, so they are ours, with
// bytes straight on them.
const bareText = "bare named pipe"

func bareListen(name string) (ln net.Listener, addr string, remove func(), err error) {
	ln, err = standpipe.Listen(name, nil)
	return ln, name, func() {}, err
}

func bareDial(ctx context.Context, addr string) (net.Conn, error) {
	return standpipe.Dial(ctx, addr, nil)
}
