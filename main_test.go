package standpipe_test

import (
	"os"
	"testing"

	"github.com/standpipe/standpipe/pipetest"
)

// TestMain: this binary is the tests, or one of the programs that they start (child_test.go).
func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(playRole(role, os.Args[1:]))
	}
	pipetest.Main(m)
}
