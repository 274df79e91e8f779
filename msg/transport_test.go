package msg_test

import (
	"net"
	"testing"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/pipetest"
)

// The transports of this module, beside the foreign ones in channel_test.go.
func init() {
	transports["endpoint"] = func(t testing.TB) (net.Conn, net.Conn) {
		server, client := pipetest.Pair(t, nil, nil)
		return client, server
	}
	transports["Pipe()"] = func(t testing.TB) (net.Conn, net.Conn) {
		a, b, err := standpipe.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		return a, b
	}
}
