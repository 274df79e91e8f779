package main

import (
	"crypto/rand"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// setupScript gives the script a prefix of its own: pipes have one name space.
func setupScript(env *testscript.Env) error {
	env.Setenv("N", "t-"+strings.ToLower(rand.Text()[:8])+"-")
	env.Setenv("OTHER", "user:S-1-5-19") // somebody else
	for _, name := range []string{"SystemRoot", "USERPROFILE", "LOCALAPPDATA", "windir"} {
		env.Setenv(name, os.Getenv(name))
	}
	return nil
}
