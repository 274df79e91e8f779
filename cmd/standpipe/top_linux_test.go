package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pseudoTerminal is a pseudo-terminal: what is typed, and where a program runs.
func pseudoTerminal(t *testing.T) (typed, there *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	typed = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { typed.Close() })
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 120})
	}
	if err != nil {
		t.Fatal(err)
	}
	if there, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })
	return typed, there
}

// topIn runs top in a terminal, does what is to be done when the screen is painted, and returns what was painted.
func topIn(t *testing.T, then func(typed *os.File, interrupt context.CancelFunc), args ...string) (code int, painted, errs string) {
	t.Helper()
	typed, there := pseudoTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type end struct {
		code int
		errs string
	}
	ended := make(chan end, 1)
	go func() {
		var errs strings.Builder
		code := run(ctx, append([]string{"top", "--interval", "100ms"}, args...), there, there, &errs)
		ended <- end{code, errs.String()}
	}()
	var all bytes.Buffer
	done := false
	for buf, last := make([]byte, 4096), time.Now().Add(time.Minute); ; {
		typed.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		n, _ := typed.Read(buf)
		all.Write(buf[:n])
		if !done && strings.Contains(all.String(), "q ends") {
			done = true
			then(typed, cancel)
		}
		select {
		case e := <-ended:
			if n > 0 {
				ended <- e // there may be more to be read
				continue
			}
			return e.code, all.String(), e.errs
		default:
		}
		if time.Now().After(last) {
			t.Fatalf("top does not end; it has painted %q", all.String())
		}
	}
}

// In a terminal top paints on a screen of its own, in colours where they are wanted, and gives the screen back.
func TestTopScreen(t *testing.T) {
	name := busyServer(t)
	coloured := regexp.MustCompile(`\x1b\[[0-9;]*3[0-9][0-9;]*m`)
	t.Setenv("TERM", "xterm-256color")
	quit := func(typed *os.File, _ context.CancelFunc) { typed.Write([]byte("q")) }
	code, out, errs := topIn(t, quit, name)
	if code != 0 || errs != "" {
		t.Errorf("code %d, %q", code, errs)
	}
	for _, part := range []string{"\x1b[?1049h", "\x1b[?1049l", "METHOD", "pours", "user "} {
		if !strings.Contains(out, part) {
			t.Errorf("%q is not in %q", part, out)
		}
	}
	if !coloured.MatchString(out) {
		t.Errorf("no colours: %q", out)
	}
	if _, left, _ := strings.Cut(out, "\x1b[?1049l"); strings.Contains(left, "METHOD") || strings.Contains(left, "user ") {
		t.Errorf("it paints on the screen that it has given back: %q", left)
	}
	t.Setenv("NO_COLOR", "1")
	if _, out, _ = topIn(t, quit, name); coloured.MatchString(out) || !strings.Contains(out, "METHOD") {
		t.Errorf("NO_COLOR: %q", out)
	}

	// An interrupt from outside ends it as it ends every command.
	if code, out, _ = topIn(t, func(_ *os.File, interrupt context.CancelFunc) { interrupt() }, name); code != exitInterrupted || !strings.Contains(out, "\x1b[?1049l") {
		t.Errorf("interrupted: code %d, %q", code, out)
	}
}

// Where the terminal can't, and for one look, it is text.
func TestTopNoScreen(t *testing.T) {
	name := busyServer(t)
	typed, there := pseudoTerminal(t)
	screen := bufio.NewReader(typed)
	for term, args := range map[string][]string{"xterm": {"--once"}, "dumb": {"--once"}} {
		t.Setenv("TERM", term)
		if code := run(t.Context(), append([]string{"top", "--interval", "100ms", name}, args...), there, there, os.Stderr); code != 0 {
			t.Errorf("%s: code %d", term, code)
		}
		// What is read of a terminal may come in parts.
		fmt.Fprint(there, "\x04")
		out, err := screen.ReadString('\x04')
		if err != nil || strings.Contains(out, "\x1b") || !strings.HasPrefix(out, name) {
			t.Errorf("%s: %q, %v", term, out, err)
		}
	}
}
