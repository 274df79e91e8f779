package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve NAME",
		Short: "Serve a few methods, to try a client against",
		Long: `serve answers calls until it is interrupted. It prints one line when it is ready: "ready", the name and the path.

  echo     any value, back as it came
  time     the server's clock, RFC 3339
  sum      a list of numbers: their sum
  whoami   who the kernel says the caller is
  sleep    a number of seconds, at most an hour: waits that long, or until the caller gives up`,
		Args: arguments(1, 1, "NAME"),
	}
	policy := policyFlag(cmd, "who may connect (default: you)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := policy()
		if err != nil {
			return err
		}
		ln, err := standpipe.Listen(args[0], &standpipe.ListenConfig{Policy: p})
		if err != nil {
			return err
		}
		addr := ln.Addr().(standpipe.Addr)
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "ready %s %s\n", addr.Name(), addr); err != nil {
			ln.Close()
			return err
		}
		return newServer().Serve(cmd.Context(), ln)
	}
	return cmd
}

// newServer has the methods of serve.
func newServer() *rpc.Server {
	s := rpc.NewServer(nil)
	rpc.Handle(s, "echo", func(_ context.Context, in any) (any, error) { return in, nil })
	rpc.Handle(s, "time", func(context.Context, any) (string, error) {
		return time.Now().Format(time.RFC3339Nano), nil
	})
	rpc.Handle(s, "sum", func(_ context.Context, in []float64) (float64, error) {
		var sum float64
		for _, x := range in {
			sum += x
		}
		return sum, nil
	})
	rpc.Handle(s, "whoami", func(ctx context.Context, _ any) (caller, error) { return callerOf(rpc.PeerFrom(ctx)), nil })
	rpc.Handle(s, "sleep", func(ctx context.Context, seconds float64) (float64, error) {
		if !(seconds >= 0 && seconds <= 3600) { // NaN is neither
			return 0, rpc.Errorf(rpc.InvalidArgument, "sleep takes 0 to 3600 seconds, not %v", seconds)
		}
		select {
		case <-time.After(time.Duration(seconds * float64(time.Second))):
			return seconds, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	})
	return s
}

// caller is who calls, as the kernel and not the caller says.
type caller struct {
	User    string   `json:"user"`
	Who     string   `json:"who"`
	PID     int      `json:"pid,omitempty"`
	Program string   `json:"program,omitempty"`
	Groups  []string `json:"groups,omitempty"`
}

func callerOf(p *rpc.Peer) caller {
	id := p.Identity()
	c := caller{User: id.User, Who: id.String(), PID: id.PID, Groups: id.Groups}
	if conn, ok := p.Conn().(*standpipe.Conn); ok {
		c.Program, _ = conn.Program() // for people only: a program that may not be looked at is left out
	}
	return c
}
