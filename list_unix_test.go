//go:build unix

package standpipe_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/standpipe/standpipe"
)

// TestListDead: what nobody serves is left out, whatever lies there; asking disturbs no server.
func TestListDead(t *testing.T) {
	runtime := filepath.Join(folder(t), "with [brackets]*")
	if err := os.Mkdir(runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	if got := listed(t); len(own(got)) != 0 {
		t.Errorf("without a folder: %v", got)
	}
	dead := spawn(t, nil, "serve", "dead")
	if line := dead.line(t); line != "ready" {
		t.Fatal(line)
	}
	dead.kill()
	for _, name := range []string{"~lie.sock", ".sock", "Bad Name.sock", "plain"} {
		if err := os.WriteFile(filepath.Join(runtime, "standpipe", name), []byte("name: x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := standpipe.Listen("alive", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range 100 {
		got := own(listed(t))
		if len(got) != 1 || got[0].Name() != "alive" || got[0] != ln.Addr() {
			t.Fatalf("List: %v", got)
		}
	}
	if ln.Refused() != 0 {
		t.Error("List has knocked")
	}
	// The dead one's name can be taken while it is being listed: Listen waits List's short locks out.
	quit := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			default:
				standpipe.List()
			}
		}
	}()
	for i := range 200 {
		again, err := standpipe.Listen("dead", nil)
		if err != nil {
			t.Errorf("round %d: %v", i, err)
			break
		}
		again.Close()
	}
	close(quit)
	<-done
}
