package standpipe

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// Programs that tests start in a process of their own: this test binary, told by its environment what to be.

const childEnv, childNameEnv = "STANDPIPE_TEST_CHILD", "STANDPIPE_TEST_NAME"

var children = map[string]func(name string) error{
	"echo":  childEcho,
	"hold":  childHold,
	"serve": childServe,
	"files": childFiles,
	"lie":   childLie,
}

func init() {
	what := os.Getenv(childEnv)
	if what == "" {
		return
	}
	if err := children[what](os.Getenv(childNameEnv)); err != nil {
		fmt.Fprintln(os.Stderr, what+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// startChild starts one, and kills it at the end of the test.
func startChild(t testing.TB, what, name string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+what, childNameEnv+"="+name)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

func childDial(name string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return Dial(ctx, name, &DialConfig{Wait: true})
}

func childEcho(name string) error {
	c, err := childDial(name)
	if err == nil {
		_, err = io.Copy(c, c)
	}
	return err
}

// childHold says "x", and then nothing.
func childHold(name string) error {
	c, err := childDial(name)
	if err != nil {
		return err
	}
	c.Write([]byte("x"))
	_, err = c.Read(make([]byte, 1))
	return err
}

// childServe accepts, says "x" to each, and keeps them.
func childServe(name string) error {
	l, err := Listen(name, nil)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		c.Write([]byte("x"))
	}
}
