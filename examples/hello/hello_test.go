package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

func TestMain(m *testing.M) {
	if os.Getenv("HELLO_TEST") == "main" {
		main()
		return
	}
	os.Exit(m.Run())
}

// The server in a process of its own, and the client here.
func TestHello(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir()) // names of this test's own, where the system goes by that
	server := exec.Command(os.Args[0], "serve")
	server.Env = append(os.Environ(), "HELLO_TEST=main")
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		server.Process.Kill()
		server.Wait()
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	text, err := greet(ctx, "gopher")
	if err != nil || !strings.HasPrefix(text, "hello gopher, you are user ") {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := greet(ctx, ""); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("without a name: %v", err)
	}
}

// The README shows this code, and not something like it.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"server.go", "client.go"} {
		code, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, body, found := strings.Cut(unix(code), "\n)\n\n// ")
		_, body, more := strings.Cut(body, "\n")
		if !found || !more || !strings.Contains(unix(readme), body) {
			t.Errorf("README.md does not have the function of %s:\n%s", name, body)
		}
	}
}

func unix(text []byte) string { return strings.ReplaceAll(string(text), "\r\n", "\n") }
