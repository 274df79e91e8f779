package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe"
)

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve NAME",
		Short: "Serve a few methods, to try a client against",
		Long: `serve answers calls until it is interrupted. It prints one line when it is ready: "ready", the name and the path.
standpipe describe NAME shows its methods.`,
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
