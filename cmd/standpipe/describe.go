package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

func newDescribe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "describe NAME [METHOD]",
		Short: "Say what a server's methods are: what they take, what they return, and what they do",
		Long: `describe asks the server what its methods are, and prints each with its kind, unary or stream, what it does, and the types
of what it takes and returns. A type is in JSON's words; base64 is a string that stands for bytes, [T] an array, {name: T} an
object, and {*: T} one with any names. An array, a map and bytes may be null. No field is required, where none is marked with "?".`,
		Example: `  standpipe describe calc
  standpipe describe --json calc sum`,
		Args: arguments(1, 2, "NAME [METHOD]"),
	}
	policy := policyFlag(cmd, "who may be serving (default: you or the superuser)")
	cmd.ValidArgsFunction = completeMethods(policy, false)
	timeout := cmd.Flags().Duration("timeout", time.Minute, "how long it may take; 0: no limit")
	wait := cmd.Flags().Bool("wait", false, "wait for the server to come up, as long as --timeout")
	asJSON := cmd.Flags().Bool("json", false, "print the description as one JSON object, with JSON Schemas")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := policy()
		if err != nil {
			return err
		}
		ctx, cancel := limited(cmd.Context(), *timeout)
		defer cancel()
		d, err := describe(ctx, args[0], &rpc.DialConfig{Policy: p, Wait: *wait})
		if err != nil {
			return err
		}
		var all any = d
		if len(args) == 2 {
			m, err := findMethod(d, args[0], args[1])
			if err != nil {
				return err
			}
			all, d.Methods = m, []rpc.MethodInfo{*m}
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), all)
		}
		_, err = io.WriteString(cmd.OutOrStdout(), describeText(d, paletteFor(cmd.OutOrStdout())))
		return err
	}
	return cmd
}

// describe asks a server for its description.
func describe(ctx context.Context, name string, cfg *rpc.DialConfig) (rpc.Description, error) {
	peer, err := rpc.Dial(ctx, name, cfg)
	if err != nil {
		return rpc.Description{}, err
	}
	defer peer.Close()
	d, err := rpc.Describe(ctx, peer)
	if err != nil {
		err = fmt.Errorf("describe %s: %w", name, err)
	}
	return d, err
}

// findMethod is the method in the description, or an error that names those that are spelled nearly so.
func findMethod(d rpc.Description, server, method string) (*rpc.MethodInfo, error) {
	var names []string
	for i, m := range d.Methods {
		if m.Name == method {
			return &d.Methods[i], nil
		}
		names = append(names, plain(m.Name))
	}
	hint := fmt.Sprintf("standpipe describe %s shows its methods", server)
	return nil, advisedf(hint, "%s has no method %q%s", server, method, suggest(method, names))
}

func printJSON(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return err
}

// describeText is a description for people: a line for each method, and below it what it does and its types.
func describeText(d rpc.Description, p palette) string {
	width := 0
	for _, m := range d.Methods {
		width = max(width, utf8.RuneCountInString(plain(m.Name)))
	}
	var b strings.Builder
	for _, m := range d.Methods {
		fmt.Fprintf(&b, "%s  %s\n", p.bold(fmt.Sprintf("%-*s", width, plain(m.Name))), plain(m.Kind))
		for line := range strings.Lines(m.Doc) {
			fmt.Fprintf(&b, "    %s\n", plain(strings.TrimRight(line, "\r\n")))
		}
		in, inTypes := brief(m.In, "in")
		out, outTypes := brief(m.Out, "out")
		fmt.Fprintf(&b, "    in   %s\n", in)
		for _, t := range inTypes {
			fmt.Fprintf(&b, "         %s\n", t)
		}
		fmt.Fprintf(&b, "    out  %s\n", out)
		for _, t := range outTypes {
			fmt.Fprintf(&b, "         %s\n", t)
		}
	}
	return b.String()
}

const completionTime = 700 * time.Millisecond // somebody waits at the keyboard

// completeMethods completes NAME, and METHOD by asking that server: streams only, where those are wanted.
func completeMethods(policy func() (standpipe.Policy, error), streams bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) != 1 {
			return completeNames(cmd, args, begun)
		}
		p, err := policy()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		d, _ := describe(ctx, args[0], &rpc.DialConfig{Policy: p}) // what can't be asked can't be completed
		var list []cobra.Completion
		for _, m := range d.Methods {
			if streams && m.Kind != "stream" {
				continue
			}
			first, _, _ := strings.Cut(m.Doc, "\n")
			if strings.HasPrefix(m.Name, begun) && plain(m.Name) == m.Name {
				list = append(list, cobra.CompletionWithDesc(m.Name, strings.TrimSuffix(plain(m.Kind)+": "+plain(first), ": ")))
			}
		}
		return list, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeNames completes NAME: one that is being served, or a path.
func completeNames(_ *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if strings.ContainsAny(begun, `/\`) {
		return nil, cobra.ShellCompDirectiveDefault
	}
	addrs, err := standpipe.List()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var list []cobra.Completion
	for _, a := range addrs {
		if strings.HasPrefix(a.Name(), begun) {
			list = append(list, cobra.CompletionWithDesc(a.Name(), a.String()))
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}
