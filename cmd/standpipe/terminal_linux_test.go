package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a terminal, and a program that runs in it.
type terminal struct {
	t    *testing.T
	main *os.File
	cmd  *exec.Cmd
	seen bytes.Buffer
}

// inTerminal starts a program in a terminal of its own, with nothing but env in its environment.
func inTerminal(t *testing.T, env []string, program string, args ...string) *terminal {
	t.Helper()
	main, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { main.Close() })
	var number int
	raw, err := main.SyscallConn()
	if err == nil {
		var inner error
		err = raw.Control(func(fd uintptr) {
			if inner = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); inner == nil {
				number, inner = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
			}
		})
		err = errors.Join(err, inner)
	}
	if err != nil {
		t.Fatal(err)
	}
	side, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer side.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = env
	cmd.Dir = t.TempDir()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = side, side, side
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &terminal{t: t, main: main, cmd: cmd}
}

// until reads what the terminal shows until there is text, and returns all of it.
func (tt *terminal) until(text string) string {
	tt.t.Helper()
	tt.main.SetReadDeadline(time.Now().Add(time.Minute))
	for b := make([]byte, 4096); !strings.Contains(tt.seen.String(), text); {
		n, err := tt.main.Read(b)
		tt.seen.Write(b[:n])
		if err != nil {
			tt.t.Fatalf("%v, before there was %q; the terminal shows:\n%s", err, text, tt.seen.String())
		}
	}
	defer tt.seen.Reset()
	return tt.seen.String()
}

// end reads what the terminal shows until its program has ended, and returns it with the exit code.
func (tt *terminal) end() (string, int) {
	tt.main.SetReadDeadline(time.Now().Add(time.Minute))
	io.Copy(&tt.seen, tt.main) // EIO, when the other side is closed
	tt.cmd.Wait()
	return tt.seen.String(), tt.cmd.ProcessState.ExitCode()
}

func (tt *terminal) say(text string) {
	tt.t.Helper()
	if _, err := io.WriteString(tt.main, text); err != nil {
		tt.t.Fatal(err)
	}
}

// commandPath is the folder that has the command under its own name, as the scripts find it.
func commandPath(t *testing.T) string {
	t.Helper()
	dir, err := exec.LookPath("standpipe")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(dir)
}

// Colours are for terminals that show them, and for those who want them.
func TestPaint(t *testing.T) {
	bin := commandPath(t)
	for _, test := range []struct {
		env     []string
		colours bool
	}{
		{[]string{"TERM=xterm"}, true},
		{[]string{"TERM=xterm", "NO_COLOR="}, true}, // set to nothing is as good as not set
		{[]string{"TERM=xterm", "NO_COLOR=1"}, false},
		{[]string{"TERM=dumb"}, false},
		{nil, false},
	} {
		out, code := inTerminal(t, append(test.env, "XDG_RUNTIME_DIR="+t.TempDir()), filepath.Join(bin, "standpipe"), "call", "nobody", "echo").end()
		if code != exitNoServer || strings.Contains(out, "\x1b") != test.colours || !strings.Contains(out, "nobody is listening") {
			t.Errorf("%q: code %d, %q", test.env, code, out)
		}
		if want := "\x1b[1;31mstandpipe:\x1b[0m dial "; test.colours && !strings.Contains(out, want) {
			t.Errorf("%q: there is no %q in %q", test.env, want, out)
		}
	}
}

// A description has no colours in a file or a pipe, and the same words in a terminal.
func TestPaintDescription(t *testing.T) {
	name := serveHere(t, newServer())
	env := []string{"TERM=xterm", "XDG_RUNTIME_DIR=" + os.Getenv("XDG_RUNTIME_DIR"), "HOME=" + os.Getenv("HOME")}
	shown, code := inTerminal(t, env, filepath.Join(commandPath(t), "standpipe"), "describe", name, "sum").end()
	if code != 0 || !strings.Contains(shown, "\x1b[1msum\x1b[0m  unary") {
		t.Errorf("in a terminal: code %d, %q", code, shown)
	}
	code, plainly, _ := runHere(t, "", "describe", name, "sum")
	if code != 0 || strings.Contains(plainly, "\x1b") {
		t.Errorf("elsewhere: code %d, %q", code, plainly)
	}
	shown = strings.NewReplacer("\x1b[1m", "", "\x1b[0m", "", "\r", "").Replace(shown)
	if shown != plainly {
		t.Errorf("the terminal shows %q, elsewhere it is %q", shown, plainly)
	}
}
