package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

// demoTime is what the demo takes at most on a machine that is not slow: what is measured last gets less, where the rest took longer. demoLimit is when it
// gives up, whatever holds it.
const (
	demoTime  = 12 * time.Second
	demoLimit = time.Minute
	demoLeast = time.Second // for measuring
)

func newDemo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show it: a service in another process, typed calls, streams, who is who, and how long calls take",
		Long: `demo starts a service in a process of its own, dials it by name, makes typed calls, opens streams, shows what the kernel says
of both sides, moves 300 MiB in a Buffer, and measures round trips beside a bare pipe or socket, TCP and HTTP on loopback. It takes some
10 seconds, gives up after a minute, and takes less for measuring where the rest was slow.`,
		Args: arguments(0, 0, "none"),
	}
	budget := cmd.Flags().Duration("budget", 6*time.Second, "how long all the measuring may take")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeoutCause(cmd.Context(), demoLimit, errors.New("the demo took too long"))
		defer cancel()
		return demo(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), *budget)
	}
	return cmd
}

func demo(ctx context.Context, stdout, stderr io.Writer, budget time.Duration) error {
	began := time.Now()
	name := "demo-" + strings.ToLower(rand.Text()[:8])
	child, err := startChild(ctx, name, stderr)
	if err != nil {
		return err
	}
	defer child.stop()
	peer, err := rpc.Dial(ctx, name, nil)
	if err != nil {
		return err
	}
	defer peer.Close()
	if err := demoCalls(ctx, stdout, name, peer); err != nil {
		return err
	}
	if err := demoStreams(ctx, stdout, peer); err != nil {
		return err
	}
	if err := demoBulk(ctx, stdout, child.hello, peer, progress(stderr)); err != nil {
		return err
	}
	ways, err := demoWays(ctx, child.hello, peer)
	if err != nil {
		return err
	}
	defer func() {
		for _, w := range ways {
			w.close()
		}
	}()
	budget = min(budget, max(demoTime-time.Since(began), demoLeast))
	table, err := measureAll(ctx, ways, budget, progress(stderr))
	if err != nil {
		return err
	}
	return table.print(stdout)
}

// demoCalls makes typed calls and shows who is who.
func demoCalls(ctx context.Context, w io.Writer, name string, peer *rpc.Peer) error {
	conn := peer.Conn().(*standpipe.Conn)
	program, err := conn.Program()
	if err != nil {
		program = err.Error()
	}
	me, err := rpc.Call[caller](ctx, peer, "whoami", struct{}{})
	if err != nil {
		return err
	}
	sum, err := rpc.Call[float64](ctx, peer, "sum", []float64{1, 2, 3.5})
	if err != nil {
		return err
	}
	_, typed := rpc.Call[float64](ctx, peer, "sleep", -1.0)
	if rpc.CodeOf(typed) != rpc.InvalidArgument {
		return fmt.Errorf("the call of sleep was to fail with InvalidArgument, not with: %w", typed)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, late := rpc.Call[float64](short, peer, "sleep", 60.0)
	if rpc.CodeOf(late) != rpc.DeadlineExceeded {
		return fmt.Errorf("the call of sleep was to fail with DeadlineExceeded, not with: %w", late)
	}
	took := time.Since(began).Round(time.Millisecond)
	_, err = fmt.Fprintf(w, `A service runs in a process of its own, and is called by the name %q:
  %s %s
  the server is %s, running %s
  the caller is %s, as the server sees it
  sum([1 2 3.5]) = %v
  sleep(-1)      = %v
  sleep(60)      = %v, after the 50 ms that the caller gave it: %v
`, name, conn.RemoteAddr().Network(), conn.RemoteAddr(), conn.Identity(), program, me.Who, sum, typed, rpc.CodeOf(late), took)
	return err
}

// demoStreams shows values that come one by one, and a stream without end that the caller ends.
func demoStreams(ctx context.Context, w io.Writer, peer *rpc.Peer) error {
	tokens, err := rpc.Open[string, string](ctx, peer, "words")
	if err != nil {
		return err
	}
	defer tokens.Close()
	const text = "each word is a value of its own"
	began := time.Now()
	if err := tokens.Send(text); err != nil {
		return err
	}
	if err := tokens.CloseSend(); err != nil {
		return err
	}
	var got []string
	var first time.Duration
	for token, err := range tokens.All() {
		if err != nil {
			return err
		}
		if len(got) == 0 {
			first = time.Since(began)
		}
		got = append(got, token)
	}
	if strings.Join(got, " ") != text {
		return fmt.Errorf("the stream of words was to have %q, not %q", text, got)
	}
	numbers, err := rpc.Open[int64, counting](ctx, peer, "count")
	if err != nil {
		return err
	}
	defer numbers.Close()
	if err := numbers.Send(counting{To: 0, Pause: 0.01}); err != nil {
		return err
	}
	var counted []int64
	for len(counted) < 3 {
		n, err := numbers.Recv()
		if err != nil {
			return err
		}
		counted = append(counted, n)
	}
	numbers.Close()
	if _, err = numbers.Recv(); rpc.CodeOf(err) != rpc.Canceled {
		return fmt.Errorf("the stream of numbers was to end with Canceled, not with: %w", err)
	}
	_, err = fmt.Fprintf(w, "  words(%q)\n                 = %s: %d values, the first after %v\n  count()        = %s ..., until the caller closes the stream: %v\n",
		text, strings.Join(got, " | "), len(got), first.Round(time.Microsecond), strings.Trim(fmt.Sprint(counted), "[]"), rpc.Canceled)
	return err
}

// demoChild is the process that serves.
type demoChild struct {
	cmd   *exec.Cmd
	stdin io.Closer
	hello demoHello
}

// demoHello is the line that the child prints when it is ready.
type demoHello struct {
	Bare string `json:"bare"`
	TCP  string `json:"tcp"`
	HTTP string `json:"http"`
}

func startChild(ctx context.Context, name string, stderr io.Writer) (*demoChild, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &demoChild{cmd: exec.CommandContext(ctx, self, "demo-server", name)}
	c.cmd.Args[0] = "standpipe"
	c.cmd.Stderr = stderr
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	c.stdin = stdin
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &c.hello)
	}
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("the service did not start: %w", err)
	}
	return c, nil
}

// stop tells the child to end, by the end of its stdin, and waits for it.
func (c *demoChild) stop() {
	c.stdin.Close()
	kill := time.AfterFunc(2*time.Second, func() { c.cmd.Process.Kill() })
	defer kill.Stop()
	c.cmd.Wait()
}

// progress prints what is being done, on a terminal only. With "" it wipes the line.
func progress(w io.Writer) func(string) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func(string) {}
	}
	return func(s string) { fmt.Fprintf(w, "\r%-40s\r%s", "", s) }
}
