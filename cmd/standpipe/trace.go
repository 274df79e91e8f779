package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newTrace() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace TARGET | trace -- COMMAND [ARG...] | trace --read FILE",
		Short: "Show what passes between clients and a server, and write it to a file",
		Long: `trace listens at TARGET-trace, or where --as says, connects each client to TARGET, and shows what passes: of our own wire the calls, streams, sizes, times
and codes, and with --values the values as JSON; of anything else the bytes. At the end it prints what it has seen, by method.

With -- it starts COMMAND, and shows what passes between its stdin and stdout and those of this program, on stderr.

TARGET, and --as, are what relay takes. The bytes pass unchanged, half-closes and files that are handed over, too. Two programs that share memory keep doing
so where they can, and a trace does not see what is there, calls included: --no-share hides their offers of it from each other, so that all comes by.`,
		Example: `  standpipe trace --values --no-share calc
  standpipe trace -w lsp.trace -q -- gopls
  standpipe trace --as /tmp/mine/docker.sock /var/run/docker.sock
  standpipe trace --read lsp.trace`,
		Args: traceArgs,
	}
	cmd.ValidArgsFunction = completeNames
	opts := relayFlags(cmd)
	flags := cmd.Flags()
	as := flags.String("as", "", "where clients connect to (default: TARGET-trace, or for tcp: and tls: a free port)")
	file := flags.StringP("write", "w", "", "a new file for all that passes, for --read and replay")
	read := flags.String("read", "", "show what such a file has; - is stdin")
	noShare := flags.Bool("no-share", false, "hide offers of shared memory: this changes what passes")
	show := viewFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := opts()
		if err != nil {
			return err
		}
		dash := cmd.ArgsLenAtDash() == 0
		out := o.out
		if dash {
			out = o.errs
		}
		v := show(out)
		if *read != "" {
			return readShow(*read, o.in, v, out)
		}
		a, b, err := tracePlaces(args, dash, *as)
		if err != nil {
			return err
		}
		r := &relay{opts: o}
		if *noShare {
			r.hide = "--no-share says so"
			r.note("--no-share hides offers of shared memory, so that all passes in sight, and not as it would without the trace")
		}
		return traceRelay(cmd, r, a, b, *file, v, out)
	}
	return cmd
}

func traceArgs(cmd *cobra.Command, args []string) error {
	read, _ := cmd.Flags().GetString("read")
	dash := cmd.ArgsLenAtDash()
	switch {
	case read != "" && len(args) == 0:
		return nil
	case read == "" && dash == 0 && len(args) > 0, read == "" && dash < 0 && len(args) == 1:
		return nil
	}
	return usagef("the arguments are to be: TARGET, or -- COMMAND [ARG...], or --read FILE alone")
}

// viewFlags are those that say how a trace is shown.
func viewFlags(cmd *cobra.Command) func(io.Writer) *viewer {
	flags := cmd.Flags()
	p := &printer{}
	values := flags.Bool("values", false, "show values as JSON")
	flags.BoolVar(&p.json, "json", false, "print events as JSON, a line for each, all of them, and no summary")
	flags.BoolVarP(&p.quiet, "quiet", "q", false, "print the summary only")
	flags.BoolVarP(&p.verbose, "verbose", "v", false, "show what only keeps connections going, too: credit, segments, bells, pings")
	flags.IntVar(&p.bytes, "bytes", 256, "how many bytes of each piece that is not our wire are shown; -1: all")
	return func(w io.Writer) *viewer {
		p.w = w
		return newViewer(*values, p)
	}
}

// tracePlaces are the two sides of a trace.
func tracePlaces(args []string, dash bool, as string) (a, b place, err error) {
	if dash {
		if as != "" {
			return a, b, usagef("--as is for a TARGET; a command is connected with stdin and stdout")
		}
		return place{text: "stdio", kind: kindStdio}, place{text: "exec:" + args[0], kind: kindExec, args: args}, nil
	}
	if b, err = parsePlace(args[0], false); err != nil {
		return a, b, err
	}
	if as == "" {
		switch b.kind {
		case kindName:
			as = b.address + "-trace"
		case kindTCP, kindTLS:
			as = "tcp:localhost:0"
		default:
			return a, b, usagef("say where clients are to connect to: --as NAME")
		}
	}
	a, err = parsePlace(as, true)
	return a, b, err
}

// traceRelay runs the relay, and a trace of it.
func traceRelay(cmd *cobra.Command, r *relay, a, b place, file string, v *viewer, out io.Writer) error {
	var w io.Writer
	if file != "" {
		f, err := createTrace(file)
		if err != nil {
			return err
		}
		defer f.Close()
		w = f
	}
	rec := newRecorder(b.text, w, v, r.opts.errs)
	r.tap = rec.tap
	err := r.run(cmd.Context(), a, b)
	failed := rec.end()
	if err == nil {
		err = failed
	}
	if r.a != nil && !v.printer.json && failed != errStuck {
		if wrong := v.summary.print(out); err == nil {
			err = wrong
		}
	}
	return err
}

// readShow shows what a file has.
func readShow(name string, stdin io.Reader, v *viewer, out io.Writer) error {
	f, err := openTrace(name, stdin)
	if err != nil {
		return err
	}
	defer f.Close()
	err = readTrace(f, func(rec *record) error {
		v.take(rec)
		return v.printer.err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if v.printer.json {
		return nil
	}
	return v.summary.print(out)
}
