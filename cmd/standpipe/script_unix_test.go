//go:build unix

package main

import (
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// setupScript gives the script a runtime folder of its own: its names meet nobody else's.
func setupScript(env *testscript.Env) error {
	dir := filepath.Join(env.WorkDir, "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	env.Setenv("XDG_RUNTIME_DIR", dir)
	env.Setenv("N", "t-")
	env.Setenv("OTHER", "user:65534") // somebody else
	return nil
}

// mayNotList: listing has to work.
func mayNotList() bool { return false }
