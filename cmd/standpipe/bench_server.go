package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// Each way has its server in a process of its own, which is this program again. It prints where it serves, and then answers each line of its
// stdin with the processor time that it has used. It ends with its stdin, so with its parent, however that ends.

func newBenchServer() *cobra.Command {
	return &cobra.Command{
		Use:    "bench-server WAY NAME",
		Hidden: true,
		Args:   arguments(2, 2, "WAY NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w := findBenchWay(args[0])
			if w == nil || w.serve == nil {
				return usagef("there is no way %q that needs a server", args[0])
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			stdin, stdout := bufio.NewScanner(cmd.InOrStdin()), cmd.OutOrStdout()
			failed := w.serve(ctx, args[1], func(addr string) {
				fmt.Fprintf(stdout, "%s\n", addr)
				go func() {
					for stdin.Scan() {
						fmt.Fprintf(stdout, "%d\n", benchCPU())
					}
					cancel()
				}()
			})
			if ctx.Err() != nil {
				return nil // it was to end
			}
			return failed
		},
	}
}

const (
	benchStart  = 20 * time.Second // within which a server is up
	benchAnswer = 20 * time.Second // within which it says what it has used
)

// benchChild is a server's process, seen from its parent.
type benchChild struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string // closed at its end
	addr  string
	wait  func() error
	errs  benchHead // to be read behind wait
}

// benchHead keeps the beginning of what is written.
type benchHead struct{ text []byte }

func (h *benchHead) Write(p []byte) (int, error) {
	const most = 512
	h.text = append(h.text, p[:min(len(p), most-len(h.text))]...)
	return len(p), nil
}

// line is the first one of it.
func (h *benchHead) line() string {
	first, _, _ := strings.Cut(string(h.text), "\n")
	return plain(strings.TrimSpace(strings.TrimPrefix(first, "standpipe: ")))
}

func startBenchChild(ctx context.Context, way, name string) (*benchChild, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &benchChild{cmd: exec.CommandContext(ctx, self, "bench-server", way, name), lines: make(chan string, 1)}
	c.cmd.Args[0] = "standpipe"
	c.cmd.Stderr, c.cmd.WaitDelay = &c.errs, time.Second
	c.wait = sync.OnceValue(c.cmd.Wait)
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	if c.addr, err = c.line(ctx, benchStart); err != nil {
		c.stop()
		return nil, fmt.Errorf("its server did not start: %w", err)
	}
	return c, nil
}

// line is the next line that the child prints.
func (c *benchChild) line(ctx context.Context, patience time.Duration) (string, error) {
	select {
	case line, ok := <-c.lines:
		if !ok {
			c.wait()
			return "", fmt.Errorf("its process has ended: %s", cmp.Or(c.errs.line(), "it said nothing"))
		}
		return line, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-time.After(patience):
		return "", fmt.Errorf("it has said nothing for %v", patience)
	}
}

// cpu is the processor time that the child has used.
func (c *benchChild) cpu(ctx context.Context) (used time.Duration, err error) {
	if _, err := io.WriteString(c.stdin, "cpu\n"); err != nil {
		return 0, err
	}
	line, err := c.line(ctx, benchAnswer)
	if err != nil {
		return 0, err
	}
	return used, json.Unmarshal([]byte(strings.TrimSpace(line)), &used)
}

// stop tells the child to end, by the end of its stdin, and waits for it.
func (c *benchChild) stop() {
	c.stdin.Close()
	kill := time.AfterFunc(2*time.Second, func() { c.cmd.Process.Kill() })
	defer kill.Stop()
	for range c.lines {
	}
	c.wait()
}
