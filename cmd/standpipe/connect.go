package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe"
)

// lingerFlag adds --linger. See pump.
func lingerFlag(cmd *cobra.Command) *time.Duration {
	return cmd.Flags().Duration("linger", time.Second,
		"how long the one way may be silent when the other has ended, where its end can't be told")
}

func newConnect() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connect NAME",
		Short: "Connect, and move bytes between the connection and stdin and stdout",
		Long: `connect sends what it reads from stdin, and prints what comes. At the end of stdin the server is told so, where the
system can (not on Windows), and connect goes on until the server has ended too.`,
		Args: arguments(1, 1, "NAME"),
	}
	cmd.ValidArgsFunction = completeNames
	policy := policyFlag(cmd, "who may be serving (default: you or the superuser)")
	wait := cmd.Flags().Duration("wait", 0, "how long to wait for the server to come up")
	linger := lingerFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := policy()
		if err != nil {
			return err
		}
		conn, err := dialFor(cmd.Context(), args[0], *wait, &standpipe.DialConfig{Policy: p})
		if err != nil {
			return err
		}
		return pump(cmd.Context(), conn, newSource(cmd.InOrStdin()), cmd.OutOrStdout(), *linger)
	}
	return cmd
}

// dialFor dials, and waits that long for a server to come up. A server that is full is waited for in any case, for a
// minute.
func dialFor(ctx context.Context, name string, wait time.Duration, cfg *standpipe.DialConfig) (*standpipe.Conn, error) {
	limit := time.Minute
	if wait > 0 {
		cfg.Wait, limit = true, wait
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return standpipe.Dial(ctx, name, cfg)
}
