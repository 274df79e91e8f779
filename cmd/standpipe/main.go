// Command standpipe serves, calls and looks at local endpoints: named pipes on Windows, Unix sockets elsewhere.
//
// docs/cli.md shows it at work. Results go to stdout, one per line; errors, hints and progress to stderr. It ends with
// 0, 1 where the call or the connection failed, 2 where it was not used as it should be, 3 where nobody listens, 4 where
// access was denied, and 130 where it was interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

// The exit codes. Scripts build on them.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNoServer = 3
	exitDenied   = 4

	exitInterrupted = 130 // as shells say it of a program that SIGINT has ended
)

func main() {
	// The second signal ends the program at once, should the first be of no avail.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program, and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil {
		fmt.Fprintln(stderr, "standpipe: interrupted")
		return exitInterrupted
	}
	var done concluded
	if errors.As(err, &done) {
		return done.code
	}
	code, hint := verdict(err)
	p := paletteFor(stderr)
	fmt.Fprintln(stderr, p.red("standpipe:"), err)
	if hint != "" {
		fmt.Fprintln(stderr, p.cyan("hint:"), hint)
	}
	return code
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "standpipe",
		Short: "Serve, call and look at local endpoints: named pipes on Windows, Unix sockets elsewhere",
		Long: `standpipe serves, calls and looks at local endpoints: named pipes on Windows, Unix sockets elsewhere.

A NAME is this user's own ("calc"), the machine's ("shared:calc"), or a path: of a socket, \\.\pipe\..., or "@name".

Exit codes: 0; 1 the call or the connection failed; 2 wrong usage; 3 nobody listens; 4 access denied; 130 interrupted.`,
		Version:       thisBuild().String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("there is no command %q", args[0])
			}
			return usagef("a command is missing")
		},
		RunE: func(*cobra.Command, []string) error { return nil }, // never reached: without it, Args is not asked
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%w", err) })
	root.SetVersionTemplate("{{.Version}}")
	root.AddCommand(newDemo(), newDemoServer(), newServe(), newDescribe(), newCall(), newOpen(), newList(), newListen(), newConnect(), newRelay(), newTrace(),
		newReplay(), newWho(), newDoctor(), newTop(), newBench(), newBenchServer(), newMan())
	return root
}

// usageError is an error of whoever typed the command.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// advised is an error of whoever typed the command that comes with its own hint.
type advised struct {
	usageError
	hint string
}

func (e advised) Unwrap() error { return e.usageError }

func advisedf(hint, format string, args ...any) error {
	return advised{usageError{fmt.Errorf(format, args...)}, hint}
}

// arguments wants from min to max arguments, called what.
func arguments(min, max int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < min || len(args) > max {
			return usagef("the arguments are to be: %s", what)
		}
		return nil
	}
}

// verdict is the exit code for an error, and what to do about it, where something general can be said.
func verdict(err error) (code int, hint string) {
	var usage usageError
	var own advised
	var command *commandError
	switch {
	case errors.As(err, &command):
		return command.code, ""
	case errors.As(err, &own):
		return exitUsage, own.hint
	case errors.As(err, &usage):
		return exitUsage, "standpipe help shows the commands, standpipe help COMMAND what one takes"
	case errors.Is(err, standpipe.ErrBadName):
		return exitUsage, `a NAME is such as calc, shared:calc or an absolute path`
	case errors.Is(err, standpipe.ErrNoServer):
		return exitNoServer, "start the server first, or wait for it with --wait; standpipe list shows what is being served"
	case errors.Is(err, standpipe.ErrWrongServer):
		return exitDenied, "if this server is the right one, say so: --policy user:NAME"
	case errors.Is(err, standpipe.ErrDenied):
		return exitDenied, "standpipe doctor NAME says which right is missing, and what mends it; the server's --policy says who may connect"
	case errors.Is(err, standpipe.ErrInUse):
		return exitFailed, "standpipe who NAME shows by whom"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return exitFailed, "give it more time: --timeout"
	case rpc.CodeOf(err) == rpc.Unavailable:
		return exitFailed, "standpipe doctor NAME says why"
	}
	return exitFailed, ""
}

// policyFlag adds --policy, and returns what it was set to. The zero Policy stands for the default.
func policyFlag(cmd *cobra.Command, whose string) func() (standpipe.Policy, error) {
	text := cmd.Flags().String("policy", "", whose+`: self, anyone, or a list such as user:alice,group:video`)
	return func() (standpipe.Policy, error) {
		if *text == "" {
			return standpipe.Policy{}, nil
		}
		p, err := standpipe.ParsePolicy(*text)
		if err != nil {
			return p, usageError{err}
		}
		return p, nil
	}
}
