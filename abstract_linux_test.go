package standpipe_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/standpipe/standpipe"
)

// TestAbstract: a name without a file, which the kernel frees with its server. Whoever sees it may connect, so that the
// Identity alone decides.
func TestAbstract(t *testing.T) {
	name := fmt.Sprint("@standpipe-test-", os.Getpid())
	if _, err := standpipe.Dial(soon(t), name, nil); verdict(err) != "no-server" {
		t.Errorf("before Listen: %v", err)
	}
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := serve(ln)
	if _, err := standpipe.Listen(name, nil); verdict(err) != "in-use" {
		t.Errorf("the second Listen: %v", err)
	}
	if err := ask(soon(t), name, "abstract"); err != nil {
		t.Error(err)
	}
	stop()
	if ln, err = standpipe.Listen(name, &standpipe.ListenConfig{Policy: standpipe.User(strangerID)}); err != nil {
		t.Fatal(err)
	}
	stop = serve(ln)
	if err := ask(soon(t), name, "not me"); verdict(err) != "turned-away" {
		t.Errorf("a server for another user: %v", err)
	}
	if _, err := standpipe.Dial(soon(t), name, &standpipe.DialConfig{Policy: standpipe.User(strangerID)}); verdict(err) != "wrong-server" {
		t.Errorf("another user's server is wanted: %v", err)
	}
	stop()
	if ln.Refused() == 0 {
		t.Error("nobody was refused")
	}
	for name, want := range map[string]string{
		"@": "bad-name", "@a\x00": "bad-name", "@" + strings.Repeat("a", maxPath): "too-long",
	} {
		if _, err := standpipe.Listen(name, nil); verdict(err) != want {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
	longest := fmt.Sprintf("@%0*d", maxPath-1, os.Getpid())
	if ln, err = standpipe.Listen(longest, nil); err != nil {
		t.Fatal(err)
	}
	stop = serve(ln)
	if err := ask(soon(t), longest, "long"); err != nil {
		t.Error(err)
	}
	stop()
}

// TestAbstractKilled: nothing is left of it.
func TestAbstractKilled(t *testing.T) {
	name := fmt.Sprint("@standpipe-killed-", os.Getpid())
	server := spawn(t, nil, "serve", name)
	if line := server.line(t); line != "ready" {
		t.Fatal(line)
	}
	server.kill()
	if _, err := standpipe.Dial(soon(t), name, nil); verdict(err) != "no-server" || errors.Is(err, standpipe.ErrStale) {
		t.Errorf("Dial: %v", err)
	}
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
}
