package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

func newTop() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top [NAME]",
		Short: "Watch a server: its connections, methods, calls per second, times, bytes and memory",
		Long: `top asks the server for its standpipe.stats again and again, and shows what it does: who is connected, calls per second, how long they take,
bytes, shared memory, and streams that are blocked, since their reader does not read. Without a NAME it shows a line for each server that is listed.

By default a server tells only its own user and the superuser. Rates are of the last interval. Times are in the server, without the way there and back, of the
last ten looks, or with --once of all calls so far.

In a terminal: q or Ctrl-C ends it, the space bar holds it, s sorts by the next column, and the arrow keys scroll. Elsewhere it prints what it sees,
look after look.`,
		Example: `  standpipe top calc
  standpipe top --once --json calc`,
		Args:              arguments(0, 1, "[NAME]"),
		ValidArgsFunction: completeNames,
	}
	policy := policyFlag(cmd, "who may be serving (default: you or the superuser)")
	interval := cmd.Flags().Duration("interval", time.Second, "from one look to the next, at least 100ms")
	once := cmd.Flags().Bool("once", false, "look twice, an interval apart, print once, and end")
	asJSON := cmd.Flags().Bool("json", false, "print a JSON object for each look, on a line")
	wait := cmd.Flags().Bool("wait", false, "wait for the server to come up")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := policy()
		switch {
		case err != nil:
			return err
		case *interval < 100*time.Millisecond:
			return usagef("--interval %v is too short: it is to be at least 100ms", *interval)
		}
		cfg := &rpc.DialConfig{Policy: p, Wait: *wait}
		show := textShower(cmd.OutOrStdout())
		if *asJSON {
			show = jsonShower(cmd.OutOrStdout())
		}
		w := &watching{interval: *interval, once: *once}
		if len(args) == 1 {
			one := &looker{name: args[0], cfg: cfg, all: *once}
			defer one.close()
			w.look = one.look
		} else {
			all := &overview{policy: p}
			defer all.close()
			w.look = all.look
		}
		if _, ok := screenOf(cmd); ok && !*once && !*asJSON {
			return w.onScreen(cmd)
		}
		return w.print(cmd.Context(), show)
	}
	return cmd
}

// screenOf is the terminal that the command can paint on, if both its input and its output are one.
func screenOf(cmd *cobra.Command) (in *os.File, ok bool) {
	in, fromTerminal := cmd.InOrStdin().(*os.File)
	out, toTerminal := cmd.OutOrStdout().(*os.File)
	ok = fromTerminal && toTerminal && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
	return in, ok
}

// watching looks again and again. A look is one server, or a line for each.
type watching struct {
	interval time.Duration
	once     bool
	look     func(context.Context) (view, error)
}

// view is what a look has found: a *frame or a servers.
type view interface{ text(o *paint) []string }

// lookTime is how long a server may take to answer.
const lookTime = 10 * time.Second

// print shows look after look, until ctx or the server ends.
func (w *watching) print(ctx context.Context, show func(view) error) error {
	for n := 0; ; n++ {
		v, err := w.look(ctx)
		if err != nil {
			return err
		}
		if n > 0 || !w.once { // the first has no rates yet
			if err := show(v); err != nil || w.once {
				return err
			}
		}
		select {
		case <-time.After(w.interval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func textShower(out io.Writer) func(view) error {
	between := ""
	return func(v view) error {
		_, err := fmt.Fprintf(out, "%s%s\n", between, strings.Join(v.text(&paint{}), "\n"))
		between = "\n"
		return err
	}
}

func jsonShower(out io.Writer) func(view) error {
	return func(v view) error { return printJSON(out, v) }
}

// looker looks at one server, over one connection, which it makes again where that has ended.
type looker struct {
	name string
	cfg  *rpc.DialConfig
	all  bool // times are of all calls so far, and not of the looks before

	mu   sync.Mutex // held by a look
	peer *rpc.Peer
	past []rpc.Stats // the looks before, the last one last
}

// mostPast is how many looks the times are of.
const mostPast = 10

// close waits for a look that is under way: its context is to be ended before.
func (l *looker) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.peer != nil {
		l.peer.Close()
	}
}

func (l *looker) look(ctx context.Context) (view, error) {
	f, err := l.frame(ctx)
	if err != nil {
		return nil, err // and not a *frame that is nil
	}
	return f, nil
}

func (l *looker) frame(ctx context.Context) (*frame, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.peer == nil || l.peer.Err() != nil {
		peer, err := rpc.Dial(ctx, l.name, l.cfg)
		if err != nil {
			return nil, err
		}
		l.peer, l.past = peer, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	now, err := rpc.StatsOf(ctx, l.peer)
	switch rpc.CodeOf(err) {
	case rpc.OK:
	case rpc.Unimplemented:
		return nil, fmt.Errorf("%s does not tell what it does: it has no standpipe.stats, as older servers and those in some other languages", l.name)
	default:
		return nil, fmt.Errorf("top %s: %w", l.name, err)
	}
	f := newFrame(l.name, l.past, now, l.all)
	if len(l.past) == mostPast {
		l.past = l.past[1:]
	}
	l.past = append(l.past, now)
	return f, nil
}

// overview looks at all servers that are listed.
type overview struct {
	policy  standpipe.Policy
	mu      sync.Mutex
	lookers map[string]*looker
}

func (o *overview) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.lookers {
		l.close()
	}
}

func (o *overview) look(ctx context.Context) (view, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	addrs, err := standpipe.List()
	if err != nil {
		return nil, err
	}
	found, before := servers{Servers: []serverLine{}}, o.lookers
	o.lookers = map[string]*looker{}
	for _, a := range addrs {
		name := a.Name()
		l := before[name]
		delete(before, name)
		if l == nil {
			l = &looker{name: name, cfg: &rpc.DialConfig{Policy: o.policy}}
		}
		o.lookers[name] = l
		f, err := l.soon(ctx)
		found.add(name, f, err)
	}
	for _, l := range before { // they are served no more
		l.close()
	}
	return found, ctx.Err()
}

// soon is frame for one of many: a server that hangs must not hold the others up for long.
func (l *looker) soon(ctx context.Context) (*frame, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Second, errors.New("it does not answer"))
	defer cancel()
	return l.frame(ctx)
}
