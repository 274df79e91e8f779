//go:build unix

package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

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

// mayNotUDP: UDP has to work.
func mayNotUDP() bool { return false }

// interrupt runs a program that prints that line first, sends it a SIGINT then, and holds its exit code against CODE:
// interrupt CODE LINE PROGRAM [ARG...].
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: interrupt CODE LINE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	program := args[2]
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path := filepath.Join(dir, args[2]); fileExists(path) {
			program = path
			break
		}
	}
	cmd := exec.Command(program, args[3:]...)
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "XDG_RUNTIME_DIR=" + ts.Getenv("XDG_RUNTIME_DIR")}
	var errs strings.Builder
	cmd.Stderr = &errs
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	cmd.Process.Signal(os.Interrupt)
	waited := cmd.Wait()
	if err != nil || line != args[1]+"\n" {
		ts.Fatalf("the first line is %q, %v; it was to be %q; %s", line, err, args[1], errs.String())
	}
	var exit *exec.ExitError
	if !errors.As(waited, &exit) || exit.ExitCode() != want {
		ts.Fatalf("it ended with %v; the exit code was to be %d; %s", waited, want, errs.String())
	}
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
