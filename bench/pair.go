package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// The process that prints the tables starts this same program twice for each contender, as its server and its client. It talks
// with them in lines over their standard input and output:
//
//	server   says its address once, and then answers "usage" and "settle" with a usage
//	client   gets the address and the plan, says "usage" and "settle" to be told the server's answer, and in the end its result
//
// The end of its standard input ends either, whatever becomes of us; and by the same rule the processes that a client starts to compute
// beside it (loaded.go) end with it.

// sideEnv makes this program a side of a pair. Its arguments are the contender and the pair's folder.
const sideEnv = "STANDPIPE_BENCH_SIDE"

const (
	sideServer = "server"
	sideClient = "client"

	askUsage  = "usage"
	askSettle = "settle" // the same, when garbage was collected
)

// Whatever takes longer hangs.
const (
	startTimeout = 20 * time.Second
	stepTimeout  = 90 * time.Second
)

// A side is a process of a pair, seen from here.
type side struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // closed at the end
	wait  func() error
	log   head
}

// start starts a side; ctx kills it.
func start(ctx context.Context, what string, c *contender, dir string, cpus []int) (*side, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &side{cmd: exec.CommandContext(ctx, exe, c.name, dir), lines: make(chan string)}
	s.cmd.Env = append(os.Environ(), sideEnv+"="+what)
	s.cmd.Stderr = &s.log
	s.cmd.Cancel = func() error { return kill(s.cmd) }
	s.cmd.WaitDelay = time.Second
	s.wait = sync.OnceValue(s.cmd.Wait)
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startOn(s.cmd, cpus); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.lines)
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			s.lines <- strings.TrimSuffix(line, "\n")
		}
	}()
	return s, nil
}

// line is the next line that the side says.
func (s *side) line(timeout time.Duration) (string, error) {
	select {
	case line, ok := <-s.lines:
		if !ok {
			s.wait() // or its last words are not there yet
			return "", fmt.Errorf("it has ended: %s", s.log.tail())
		}
		return line, nil
	case <-time.After(timeout):
		return "", fmt.Errorf("it has not answered within %v: %s", timeout, s.log.tail())
	}
}

// stop ends the side, and its children.
func (s *side) stop() {
	s.in.Close()
	kill(s.cmd)
	for range s.lines {
	}
	s.wait()
}

// head keeps the first 64 KiB that are written to it.
type head struct {
	mu sync.Mutex
	b  []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b = append(h.b, p[:min(len(p), 64<<10-len(h.b))]...)
	return len(p), nil
}

// tail is the end of what was kept, in one line.
func (h *head) tail() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := strings.TrimSpace(string(h.b))
	if s == "" {
		return "it said nothing"
	}
	if cut := len(s) - 600; cut > 0 {
		s = "..." + s[cut:]
	}
	return strings.ReplaceAll(s, "\n", " | ")
}

// runPair measures by a plan, in two processes of its own.
func runPair(ctx context.Context, c *contender, p plan, pin pinning) (*result, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	serverCPUs, clientCPUs := pin.cpus(allowed())
	server, err := start(ctx, sideServer, c, dir, serverCPUs)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	addr, err := server.line(startTimeout)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	client, err := start(ctx, sideClient, c, dir, clientCPUs)
	if err != nil {
		return nil, err
	}
	defer client.stop()
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(client.in, "%s\n%s\n", addr, text)
	for {
		line, err := client.line(stepTimeout)
		if err != nil {
			return nil, fmt.Errorf("client: %w (server: %s)", err, server.log.tail())
		}
		if line != askUsage && line != askSettle {
			return parseResult(line, server)
		}
		fmt.Fprintln(server.in, line)
		answer, err := server.line(startTimeout)
		if err != nil {
			return nil, fmt.Errorf("server: %w", err)
		}
		fmt.Fprintln(client.in, answer)
	}
}

func parseResult(line string, server *side) (*result, error) {
	r := &result{}
	if err := json.Unmarshal([]byte(line), r); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if r.Err != "" {
		return nil, fmt.Errorf("%s (server: %s)", r.Err, server.log.tail())
	}
	return r, nil
}

// runSide is the whole of a process that is a side.
func runSide(what string, args []string) {
	if what == sideComputes {
		computes()
	}
	err := fmt.Errorf("%s=%q with the arguments %q", sideEnv, what, args)
	out := os.Stdout
	os.Stdout = os.Stderr // whatever a library prints must not come between our lines
	if len(args) == 2 && contenders[args[0]] != nil {
		c, e, in := contenders[args[0]], &env{dir: args[1]}, bufio.NewReader(os.Stdin)
		switch what {
		case sideServer:
			err = serverSide(c, e, in, out)
		case sideClient:
			err = clientSide(c, e, in, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(exitFailed)
	}
	os.Exit(exitOK)
}

// serverSide returns when serving fails.
func serverSide(c *contender, e *env, in *bufio.Reader, out io.Writer) error {
	e.ready = func(addr string) { fmt.Fprintln(out, addr) }
	failed := make(chan error)
	go func() {
		if err := c.serve(e); err != nil {
			failed <- err
		}
	}()
	questions := linesOf(in)
	for {
		select {
		case err := <-failed:
			return err
		case question := <-questions:
			measure := used
			if question == askSettle {
				measure = settled
			}
			text, err := json.Marshal(measure(int(e.child.Load())))
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "%s\n", text)
		}
	}
}

// clientSide returns when it can't measure, or not tell.
func clientSide(c *contender, e *env, in *bufio.Reader, out io.Writer) error {
	lines := linesOf(in)
	e.addr = <-lines
	m := &measurement{c: c, e: e, r: &result{}}
	if err := json.Unmarshal([]byte(<-lines), &m.plan); err != nil {
		return err
	}
	m.ask = func(question string) (u usage, err error) {
		fmt.Fprintln(out, question)
		err = json.Unmarshal([]byte(<-lines), &u)
		return u, err
	}
	if err := m.run(); err != nil {
		m.r.Err = err.Error()
	}
	answer, err := json.Marshal(m.r)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n", answer)
	select {} // the connections stay until we are killed
}

// linesOf reads lines. Where they end, nobody is there any more, and this process ends with its children.
func linesOf(r *bufio.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				endAll()
			}
			lines <- strings.TrimSuffix(line, "\n")
		}
	}()
	return lines
}
