package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/pipetest"
)

func TestMain(m *testing.M) {
	if os.Getenv("INTEROP_TEST") == "main" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A language has a peer: a command, before the peer's own arguments.
type language struct {
	name    string
	command []string
	missing string // why there is none
}

func languages() []language {
	python := language{name: "python", command: []string{os.Getenv("STANDPIPE_PYTHON"), "-X", "dev", "-W", "error", "peer.py"}}
	if python.command[0] == "" {
		python.missing = "STANDPIPE_PYTHON names no Python with the package standpipe; `make test` and `make test-windows` make one"
	}
	return []language{{name: "go", command: []string{os.Args[0]}}, python}
}

// need skips where the language has no peer here, or fails where that is not allowed.
func (l language) need(t *testing.T) {
	t.Helper()
	if l.missing != "" && os.Getenv("STANDPIPE_WITNESS_REQUIRED") != "" {
		t.Fatal(l.missing)
	}
	if l.missing != "" {
		t.Skip("NOT TESTED: " + l.missing)
	}
}

// A process is a running peer.
type process struct {
	cmd    *exec.Cmd
	lines  *bufio.Scanner // its standard output
	end    func()         // closes its standard input, by which a server ends
	stderr *bytes.Buffer
}

// start runs a peer. It is killed at the end of the test, if it still runs.
func (l language) start(t *testing.T, args ...string) *process {
	t.Helper()
	cmd := exec.Command(l.command[0], append(slices.Clone(l.command[1:]), args...)...)
	cmd.Env = append(os.Environ(), "INTEROP_TEST=main")
	p := &process{cmd: cmd, stderr: new(bytes.Buffer)}
	cmd.Stderr = p.stderr
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.end = func() { in.Close() }
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(4*time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		limit.Stop()
		if cmd.ProcessState == nil {
			p.kill()
		}
		if t.Failed() && p.stderr.Len() > 0 {
			t.Logf("%s %v said:\n%.4000s", l.name, args, p.stderr)
		}
	})
	return p
}

// line is the next line that the peer prints, and "" at its end.
func (p *process) line() string {
	if p.lines.Scan() {
		return strings.TrimRight(p.lines.Text(), "\r")
	}
	return ""
}

func (p *process) expect(t *testing.T, want string) {
	t.Helper()
	if got := p.line(); got != want {
		t.Fatalf("the peer said %q instead of %q", got, want)
	}
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// finish ends the server in good order.
func (p *process) finish(t *testing.T) {
	t.Helper()
	p.end()
	for p.line() != "" {
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v:\n%s", err, p.stderr)
	}
}

// serve starts a server, and returns its name, too.
func (l language) serve(t *testing.T) (*process, string) {
	t.Helper()
	name := pipetest.Name(t)
	p := l.start(t, "serve", name)
	p.expect(t, "ready")
	return p, name
}

// specified are the cases of spec/interop.md.
func specified(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "spec", "interop.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "## Cases")
	var names []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(table, -1) {
		names = append(names, m[1])
	}
	if !found || len(names) < 30 {
		t.Fatalf("spec/interop.md has the cases %q only", names)
	}
	return names
}

// Every peer knows the cases of the page, and no others.
func TestCases(t *testing.T) {
	want := slices.Sorted(slices.Values(specified(t)))
	for _, l := range languages() {
		t.Run(l.name, func(t *testing.T) {
			l.need(t)
			p, got := l.start(t, "cases"), []string{}
			for line := p.line(); line != ""; line = p.line() {
				got = append(got, line)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("cases of the peer:\n%q\nof spec/interop.md:\n%q", got, want)
			}
		})
	}
}

// Every language's server, with every language's client.
func TestInterop(t *testing.T) {
	var plain []string // cases that share a server
	for _, name := range specified(t) {
		if name != "drain" && !strings.HasPrefix(name, "killed-") {
			plain = append(plain, name)
		}
	}
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir()) // names of this test's own, where the system goes by that
	for _, server := range languages() {
		for _, client := range languages() {
			t.Run(fmt.Sprintf("%s serves %s", server.name, client.name), func(t *testing.T) {
				server.need(t)
				client.need(t)
				if server.name == client.name && testing.Short() {
					t.Skip("-short: the same language on both sides")
				}
				t.Parallel() // mostly they wait
				t.Run("together", func(t *testing.T) { together(t, server, client, plain) })
				t.Run("drain", func(t *testing.T) { drained(t, server, client) })
				t.Run("killed-server", func(t *testing.T) { serverKilled(t, server, client) })
				t.Run("killed-client", func(t *testing.T) { clientKilled(t, server, client) })
			})
		}
	}
}

// passes runs cases, and fails for those that do.
func passes(t *testing.T, client language, name string, cases ...string) {
	t.Helper()
	p := client.start(t, append([]string{"run", name}, cases...)...)
	for _, c := range cases {
		if line := p.line(); line != "ok "+c {
			t.Errorf("%s: %q", c, line)
		}
	}
	if err := p.cmd.Wait(); err != nil { // such as a data race
		t.Errorf("the client: %v", err)
	}
}

func together(t *testing.T, server, client language, cases []string) {
	s, name := server.serve(t)
	passes(t, client, name, cases...)
	s.finish(t)
}

func drained(t *testing.T, server, client language) {
	s, name := server.serve(t)
	passes(t, client, name, "drain")
	s.finish(t)
}

func serverKilled(t *testing.T, server, client language) {
	s, name := server.serve(t)
	c := client.start(t, "run", name, "killed-server")
	c.expect(t, "holding")
	s.kill()
	limit := time.AfterFunc(10*time.Second, func() { c.cmd.Process.Kill() })
	c.expect(t, "ok killed-server")
	limit.Stop()
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the client: %v", err)
	}
	again := server.start(t, "serve", name) // what the dead one has left is in nobody's way
	again.expect(t, "ready")
	passes(t, client, name, "values")
	again.finish(t)
}

func clientKilled(t *testing.T, server, client language) {
	s, name := server.serve(t)
	c := client.start(t, "run", name, "killed-client")
	c.expect(t, "holding")
	c.kill()
	passes(t, client, name, "idle", "buffer-huge")
	s.finish(t)
}
