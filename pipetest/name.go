package pipetest

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"testing"

	"github.com/standpipe/standpipe"
)

// handedOut are the endpoints of the names that Name has made, where Main looks for what was left.
var handedOut struct {
	sync.Mutex
	addrs []standpipe.Addr
}

// Name is the name of an endpoint that nobody else has: one of this user's own. What it leads to follows the rules of
// standpipe.ParseAddr; on Unix, a test that wants a folder of its own sets XDG_RUNTIME_DIR before.
func Name(t testing.TB) string {
	t.Helper()
	var b [8]byte
	rand.Read(b[:]) // never fails
	name := "pipetest-" + hex.EncodeToString(b[:])
	addr, err := standpipe.ParseAddr(name)
	if err != nil {
		t.Fatal(err)
	}
	handedOut.Lock()
	defer handedOut.Unlock()
	handedOut.addrs = append(handedOut.addrs, addr)
	return name
}
