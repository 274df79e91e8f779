package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"standpipe": main, "standpipe-foreign": foreignServer})
}

// TestScript runs the sessions of testdata/script with the real program, in processes of their own.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=50") // the race detector would hold up the end of each program for a second
			port, err := freePort()
			if err != nil {
				return err
			}
			env.Setenv("PORT", port)
			return setupScript(env)
		},
		Condition: scriptCondition,
		Cmds:      map[string]func(*testscript.TestScript, bool, []string){"code": exitCode, "interrupt": interrupt},
		Deadline:  time.Now().Add(3 * time.Minute),
	})
}

// freePort is a port of TCP that nobody has now.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, err
}

// scriptCondition: [list] where the system can list what is served, [udp] where Go can use UDP.
func scriptCondition(cond string) (bool, error) {
	switch cond {
	case "udp":
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			if mayNotUDP() {
				err = nil
			}
			return false, err
		}
		return true, conn.Close()
	case "list":
	default:
		return false, fmt.Errorf("there is no condition %q", cond)
	}
	_, err := standpipe.List()
	if errors.Is(err, errors.ErrUnsupported) && mayNotList() {
		return false, nil
	}
	return true, err
}

// exitCode runs a program that has to end with just this exit code: code 3 standpipe call nobody echo.
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code CODE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	if err != nil {
		ts.Fatalf("code: %v", err)
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("code: %v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("the exit code is %d; it was to be %d", got, want)
	}
}

func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		err  error
		code int
	}{
		{errors.New("anything"), exitFailed},
		{usagef("no"), exitUsage},
		{standpipe.ErrBadName, exitUsage},
		{standpipe.ErrNameTooLong, exitUsage},
		{standpipe.ErrNoServer, exitNoServer},
		{standpipe.ErrStale, exitNoServer},
		{standpipe.ErrDenied, exitDenied},
		{standpipe.ErrWrongServer, exitDenied},
		{standpipe.ErrInUse, exitFailed},
		{rpc.Errorf(rpc.PermissionDenied, "the method says no"), exitFailed},
		{context.DeadlineExceeded, exitFailed},
	} {
		if code, _ := verdict(errors.Join(errors.New("in a chain"), test.err)); code != test.code {
			t.Errorf("%v: the exit code is %d, not %d", test.err, code, test.code)
		}
	}
}

// What is pumped arrives whole, both ways at once, though it is more than any buffer takes.
func TestPumpLarge(t *testing.T) {
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	there, back := pattern(5<<20, 3), pattern(4<<20, 5)
	type result struct {
		got []byte
		err error
	}
	end := func(conn *standpipe.Conn, send []byte) <-chan result {
		done := make(chan result, 1)
		go func() {
			var out bytes.Buffer
			err := pump(t.Context(), conn, newSource(bytes.NewReader(send)), &out, 5*time.Second)
			done <- result{out.Bytes(), err}
		}()
		return done
	}
	atA, atB := end(a, back), end(b, there)
	if r := <-atA; r.err != nil || !bytes.Equal(r.got, there) {
		t.Errorf("one end: %d of %d bytes, error %v", len(r.got), len(there), r.err)
	}
	if r := <-atB; r.err != nil || !bytes.Equal(r.got, back) {
		t.Errorf("the other end: %d of %d bytes, error %v", len(r.got), len(back), r.err)
	}
}

// A peer that is gone ends the pump, though its own input never ends.
func TestPumpSilentInput(t *testing.T) {
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	silent, never := io.Pipe()
	defer never.Close()
	if _, err := b.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	b.Close()
	var out strings.Builder
	if err := pump(t.Context(), a, newSource(silent), &out, 10*time.Millisecond); err != nil {
		t.Error(err)
	}
	if out.String() != "last words" {
		t.Errorf("got %q", out.String())
	}
}

// A peer that is gone is an error for whoever still has something to send.
func TestPumpPeerGone(t *testing.T) {
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	err = pump(t.Context(), a, newSource(bytes.NewReader(pattern(1<<20, 1))), io.Discard, 10*time.Second)
	if err == nil {
		t.Error("nothing was said of what could not be sent")
	}
}

// An interrupt ends the pump, whatever it waits for.
func TestPumpInterrupt(t *testing.T) {
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	silent, never := io.Pipe()
	defer never.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- pump(ctx, a, newSource(silent), io.Discard, time.Hour) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func pattern(n, step int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * step >> 3)
	}
	return b
}

func TestQuantile(t *testing.T) {
	var c cell
	for i := 100; i > 0; i-- {
		c = append(c, time.Duration(i))
	}
	if p50, p99 := c.quantile(0.5), c.quantile(0.99); p50 != 51 || p99 != 100 {
		t.Errorf("p50 %d, p99 %d", p50, p99)
	}
	if (cell{}).quantile(0.5) != 0 {
		t.Error("of nothing")
	}
}

// runHere runs the command in this process, and returns what it printed.
func runHere(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// Every command has a help text, and says so when it is used wrongly.
func TestHelp(t *testing.T) {
	for _, cmd := range newRoot().Commands() {
		if cmd.Hidden {
			continue
		}
		if code, out, _ := runHere(t, "", "help", cmd.Name()); code != 0 || !strings.Contains(out, "Usage:") {
			t.Errorf("help %s: code %d:\n%s", cmd.Name(), code, out)
		}
		if code, _, errs := runHere(t, "", cmd.Name(), "--no-such-flag"); code != exitUsage || errs == "" {
			t.Errorf("%s --no-such-flag: code %d, %q", cmd.Name(), code, errs)
		}
	}
}
