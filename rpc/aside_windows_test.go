package rpc_test

import (
	"os"
	"os/exec"
	"testing"
)

const asideEnv = "STANDPIPE_ASIDE"

// aside runs the test in a process of its own. Handles that were put into a client's process and that it has not taken stay open until
// that ends: spec/handles-windows.md. A server that is killed may leave some.
func aside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(asideEnv) != "" {
		t.Cleanup(func() {
			if !t.Failed() {
				os.Exit(0) // without a look at what is left
			}
		})
		return false
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), asideEnv+"=1")
	out, err := cmd.CombinedOutput()
	if t.Logf("%s", out); err != nil {
		t.Error(err)
	}
	return true
}
