package standpipe_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
)

// Programs that tests start in processes of their own: this test binary again, told by its environment what to be. They
// speak in lines.

const roleEnv = "STANDPIPE_ROLE"

var roles = map[string]func(args []string) error{
	"serve": serveRole,
	"hold":  holdRole,
	"race":  raceRole,
	"try":   tryRole,
}

func playRole(role string, args []string) int {
	run, known := roles[role]
	if !known {
		fmt.Fprintln(os.Stderr, "no such role:", role)
		return 2
	}
	if err := run(args); err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

// child is such a program.
type child struct {
	*exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	done bool
}

// spawn starts a role. It is killed when the test ends, if it is still there. prepare may be nil.
func spawn(t testing.TB, prepare func(*exec.Cmd), role string, args ...string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.Command(exe, args...)}
	c.Env = append(os.Environ(), roleEnv+"="+role)
	c.Stderr = os.Stderr
	if c.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if prepare != nil {
		prepare(c.Cmd)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	return c
}

// kill is kill -9, or TerminateProcess.
func (c *child) kill() {
	if !c.done {
		c.done = true
		c.Process.Kill()
		c.Wait()
	}
}

// line is the next that it says. It fails where the child ends without a word; a child that hangs is found by the test
// binary's own time limit.
func (c *child) line(t testing.TB) string {
	t.Helper()
	s, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the child said %q, and then %v", s, err)
	}
	return strings.TrimSpace(s)
}

func (c *child) tell(t testing.TB, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		t.Fatal(err)
	}
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// policyOf reads a Policy that may be left out.
func policyOf(args []string) (standpipe.Policy, error) {
	if len(args) == 0 {
		return standpipe.Policy{}, nil
	}
	return standpipe.ParsePolicy(args[0])
}

// serveRole NAME [POLICY]: echoes, after it has said "ready".
func serveRole(args []string) error {
	p, err := policyOf(args[1:])
	if err != nil {
		return err
	}
	ln, err := standpipe.Listen(args[0], &standpipe.ListenConfig{Policy: p})
	if err != nil {
		fmt.Println(verdict(err), err)
		return nil
	}
	fmt.Println("ready")
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}

// holdRole NAME: connects, says so, and keeps the connection until it is killed or its stdin ends.
func holdRole(args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := standpipe.Dial(ctx, args[0], &standpipe.DialConfig{Wait: true})
	if err != nil {
		return err
	}
	fmt.Println("connected")
	io.Copy(io.Discard, os.Stdin)
	return c.Close()
}

// raceRole NAME: for each line on stdin, it tries to listen, and says "won" or what else. A second line lets go.
func raceRole(args []string) error {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		ln, err := standpipe.Listen(args[0], nil)
		if err != nil {
			fmt.Println(verdict(err), err)
		} else {
			fmt.Println("won")
		}
		in.Scan()
		if ln != nil && in.Text() == "close" {
			ln.Close()
		}
		fmt.Println("done")
	}
	return nil
}

// tryRole NAME [POLICY]: dials, has one word echoed, and says how that went.
func tryRole(args []string) error {
	p, err := policyOf(args[1:])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := standpipe.Dial(ctx, args[0], &standpipe.DialConfig{Policy: p})
	if err != nil {
		fmt.Println(verdict(err), err)
		return nil
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if err := echoed(c, "word"); err != nil {
		fmt.Println(verdict(err), err)
		return nil
	}
	fmt.Println("served by", c.Identity().User)
	return nil
}

// verdict is the one sentinel that err is, in a word. The more exact one comes first.
func verdict(err error) string {
	for _, k := range []struct {
		word string
		is   error
	}{
		{"stale", standpipe.ErrStale}, {"no-server", standpipe.ErrNoServer}, {"in-use", standpipe.ErrInUse},
		{"wrong-server", standpipe.ErrWrongServer}, {"denied", standpipe.ErrDenied}, {"too-long", standpipe.ErrNameTooLong},
		{"bad-name", standpipe.ErrBadName}, {"not-socket", standpipe.ErrNotSocket}, {"messages", standpipe.ErrMessages},
		{"unsupported", errors.ErrUnsupported}, {"turned-away", io.EOF}, {"turned-away", syscall.EPIPE},
	} {
		if errors.Is(err, k.is) {
			return k.word
		}
	}
	return "error"
}

// echoed writes text to c and wants it back.
func echoed(c io.ReadWriter, text string) error {
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if string(b) != text {
		return fmt.Errorf("%q came back for %q", b, text)
	}
	return nil
}
