package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/rpc"
)

func newCall() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "call NAME METHOD [JSON]",
		Short: "Call a method, and print its result as JSON",
		Long: `call calls METHOD with the value JSON (null where it is left out), and prints the result on one line. Where JSON is
"-", stdin has any number of values: each is a call, and each result a line, in their order.`,
		Example: `  standpipe call calc sum '[1, 2, 3.5]'
  seq 3 | standpipe call calc echo -`,
		Args: arguments(2, 3, "NAME METHOD [JSON]"),
	}
	policy := policyFlag(cmd, "who may be serving (default: you or the superuser)")
	timeout := cmd.Flags().Duration("timeout", time.Minute, "how long the connecting, and each call, may take; 0: no limit")
	wait := cmd.Flags().Bool("wait", false, "wait for the server to come up, as long as --timeout")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := policy()
		if err != nil {
			return err
		}
		next, err := values(args[2:], cmd.InOrStdin())
		if err != nil {
			return err
		}
		ctx, cancel := limited(cmd.Context(), *timeout)
		defer cancel()
		peer, err := rpc.Dial(ctx, args[0], &rpc.DialConfig{Policy: p, Wait: *wait, Codec: rpc.JSON})
		if err != nil {
			return err
		}
		defer peer.Close()
		for {
			in, err := next()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := callOnce(cmd, peer, args[1], in, *timeout); err != nil {
				return err
			}
		}
	}
	return cmd
}

// callOnce makes one call and prints its result.
func callOnce(cmd *cobra.Command, peer *rpc.Peer, method string, in json.RawMessage, timeout time.Duration) error {
	ctx, cancel := limited(cmd.Context(), timeout)
	defer cancel()
	out, err := rpc.Call[json.RawMessage](ctx, peer, method, in)
	if err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", out)
	return err
}

// values is the JSON values to call with, one after the other, and io.EOF after the last.
func values(args []string, stdin io.Reader) (func() (json.RawMessage, error), error) {
	if len(args) == 1 && args[0] == "-" {
		dec := json.NewDecoder(stdin)
		return func() (json.RawMessage, error) {
			var v json.RawMessage
			err := dec.Decode(&v)
			if err != nil && err != io.EOF {
				err = usagef("stdin has what is not JSON: %w", err)
			}
			return v, err
		}, nil
	}
	text := "null"
	if len(args) == 1 {
		text = args[0]
	}
	if !json.Valid([]byte(text)) {
		return nil, usagef(`%q is not JSON; a string needs its quotes: '"text"'`, text)
	}
	done := false
	return func() (json.RawMessage, error) {
		if done {
			return nil, io.EOF
		}
		done = true
		return json.RawMessage(text), nil
	}, nil
}

// errTimeout is the cause of contexts that --timeout has ended.
var errTimeout = errors.New("the time that --timeout gives was up")

func limited(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, timeout, errTimeout)
}
