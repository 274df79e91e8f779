//go:build unix

package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
)

// bareText is what the bare way is called: a plain net.UnixConn at both ends, with nothing of ours.
const bareText = "bare Unix socket"

// bareListen listens at a socket in a fresh folder that only this user can enter. remove removes it.
func bareListen(string) (ln net.Listener, addr string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "standpipe-demo-")
	if err != nil {
		return nil, "", nil, err
	}
	path := filepath.Join(dir, "bare")
	ln, err = net.Listen("unix", path)
	if err != nil {
		os.RemoveAll(dir)
		return nil, "", nil, err
	}
	return ln, path, func() { os.RemoveAll(dir) }, nil
}

func bareDial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", addr)
}
