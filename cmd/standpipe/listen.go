package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe"
)

func newListen() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "listen NAME",
		Short: "Listen, and move bytes between a client and stdin and stdout",
		Long: `listen waits for a client, prints what it sends, and sends it what is read from stdin. It ends when both ways have
ended. With --keep it serves client after client, until it is interrupted.`,
		Args: arguments(1, 1, "NAME"),
	}
	policy := policyFlag(cmd, "who may connect (default: you)")
	keep := cmd.Flags().Bool("keep", false, "when a client has gone, wait for the next")
	linger := lingerFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := policy()
		if err != nil {
			return err
		}
		ln, err := standpipe.Listen(args[0], &standpipe.ListenConfig{Policy: p})
		if err != nil {
			return err
		}
		defer ln.Close()
		stop := context.AfterFunc(cmd.Context(), func() { ln.Close() })
		defer stop()
		in := newSource(cmd.InOrStdin())
		for {
			conn, err := ln.AcceptConn()
			if err != nil {
				return interrupted(cmd.Context(), err)
			}
			if !*keep {
				ln.Close() // the name is free, and nobody waits in a queue that is never served
			}
			err = pump(cmd.Context(), conn, in, cmd.OutOrStdout(), *linger)
			switch {
			case !*keep:
				return interrupted(cmd.Context(), err)
			case cmd.Context().Err() != nil:
				return nil
			case err != nil:
				fmt.Fprintln(cmd.ErrOrStderr(), "standpipe:", err)
			}
		}
	}
	return cmd
}

// interrupted is nil where err is only how the program was asked to end.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled)) {
		return nil
	}
	return err
}
