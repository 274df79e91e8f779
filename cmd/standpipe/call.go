package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/rpc"
)

func newCall() *cobra.Command {
	return calls(&cobra.Command{
		Use:   "call NAME METHOD [JSON]",
		Short: "Call a method or open a stream, and print what it returns as JSON",
		Long: `call asks the server what its methods are, holds the value JSON against what METHOD takes, calls it, and prints the result
on one line. Of a stream, each value is a line, as it comes; Ctrl-C ends it.

The value is JSON itself, @FILE, or - for stdin, as an argument or as --data. A file and stdin may have any number of
values: each is a call, or is sent on the stream, in their order. Without a value a method is called with null, and on a stream
nothing is sent.`,
		Example: `  standpipe call calc sum '[1, 2, 3.5]'
  seq 3 | standpipe call calc echo -
  standpipe call calc count`,
	}, false)
}

func newOpen() *cobra.Command {
	return calls(&cobra.Command{
		Use:   "open NAME METHOD [JSON]",
		Short: "Open a stream, send values, and print what comes, each on a line as JSON",
		Long: `open does for streams what call does, and is for scripts that mean one: METHOD has to be a stream. The values are sent as they come,
and what comes is printed as it comes; Ctrl-C ends it. The server need not describe itself.

The values are JSON, @FILE, or - for stdin, as an argument or as --data. Without one nothing is sent.`,
		Example: `  standpipe open calc count '{"to": 3}'
  standpipe open calc words -`,
	}, true)
}

// calls makes a command call a method, or open a stream; that only, where streams is set.
func calls(cmd *cobra.Command, streams bool) *cobra.Command {
	cmd.Args = arguments(2, 3, "NAME METHOD [JSON]")
	flags := cmd.Flags()
	policy := policyFlag(cmd, "who may be serving (default: you or the superuser)")
	cmd.ValidArgsFunction = completeMethods(policy, streams)
	timeout := flags.Duration("timeout", time.Minute, "how long the connecting, and each call, may take, and a stream where this is given; 0: no limit")
	wait := flags.Bool("wait", false, "wait for the server to come up, as long as --timeout")
	data := flags.String("data", "", "the value: JSON, @FILE, or - for stdin")
	codec := codecFlag(cmd)
	noCheck := flags.Bool("no-check", false, "send the value without holding it against the schema")
	meta := flags.StringArray("meta", nil, "KEY=VALUE of metadata that goes with the call; may be given again")
	verbose := flags.BoolP("verbose", "v", false, "print the header and the trailer, to stderr")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := policy()
		if err != nil {
			return err
		}
		c := &calling{cmd: cmd, name: args[0], method: args[1], streams: streams, check: !*noCheck, verbose: *verbose, timeout: *timeout}
		if c.codec, err = codec(); err != nil {
			return err
		}
		if c.ctx, err = withMeta(cmd.Context(), *meta); err != nil {
			return err
		}
		if c.values, err = newValues(args[2:], *data, cmd.InOrStdin()); err != nil {
			return err
		}
		defer c.values.close()
		ctx, cancel := limited(c.ctx, *timeout)
		defer cancel()
		if c.peer, err = rpc.Dial(ctx, c.name, &rpc.DialConfig{Policy: p, Wait: *wait, Codec: c.codec}); err != nil {
			return err
		}
		defer c.peer.Close()
		m, err := c.look(ctx)
		if err != nil {
			return err
		}
		if err := c.run(m); err != nil {
			return fmt.Errorf("%s %s: %w", cmd.Name(), c.method, err)
		}
		return nil
	}
	return cmd
}

// codecFlag adds --codec, and returns what it was set to.
func codecFlag(cmd *cobra.Command) func() (rpc.Codec, error) {
	name := cmd.Flags().String("codec", "json", "what the value is encoded by: json or msgpack")
	cmd.RegisterFlagCompletionFunc("codec", cobra.FixedCompletions([]string{"json", "msgpack"}, cobra.ShellCompDirectiveNoFileComp))
	return func() (rpc.Codec, error) {
		switch *name {
		case "json":
			return rpc.JSON, nil
		case "msgpack":
			return rpc.MessagePack, nil
		case "protobuf":
			return nil, usagef("a Protobuf message can't be made of JSON without its .proto file: --codec is json or msgpack")
		}
		return nil, usagef("--codec is json or msgpack, not %q", *name)
	}
}

// withMeta makes a context whose calls carry what --meta says.
func withMeta(ctx context.Context, pairs []string) (context.Context, error) {
	md := rpc.Metadata{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usagef("--meta %q is not KEY=VALUE", pair)
		}
		if key == "" || len(key) > 64 || strings.ContainsFunc(key, notInKey) {
			return nil, usagef("--meta: a key is 1 to 64 of a-z, 0-9, '-', '_' and '.', not %q", key)
		}
		md[key] = append(md[key], value)
	}
	return rpc.WithMetadata(ctx, md), nil
}

func notInKey(r rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_.", r)
}

// calling is one run of `call`.
type calling struct {
	cmd     *cobra.Command
	ctx     context.Context // with the metadata
	peer    *rpc.Peer
	name    string
	method  string
	codec   rpc.Codec
	values  *values
	in      *schema // of what the method takes; nil: it is not known
	streams bool    // no unary methods
	check   bool
	verbose bool
	timeout time.Duration
	count   int // values that were taken
}

// look finds the method in the server's description; nil, where the server gives none to this user.
func (c *calling) look(ctx context.Context) (*rpc.MethodInfo, error) {
	if strings.HasPrefix(c.method, "standpipe.") {
		return nil, nil // the wire's own methods are in no description
	}
	d, err := rpc.Describe(ctx, c.peer)
	switch rpc.CodeOf(err) {
	case rpc.OK:
	case rpc.Unimplemented, rpc.PermissionDenied, rpc.Unauthenticated:
		return nil, nil
	default:
		return nil, fmt.Errorf("describe %s: %w", c.name, err)
	}
	m, err := findMethod(d, c.name, c.method)
	if err != nil {
		return nil, err
	}
	if c.in, err = newSchema(m.In); err != nil {
		fmt.Fprintf(c.cmd.ErrOrStderr(), "standpipe: the schema of %s is of no use, so nothing is checked: %s\n", c.method, plain(err.Error()))
		c.in = nil
	}
	return m, nil
}

func (c *calling) run(m *rpc.MethodInfo) error {
	switch {
	case m == nil && c.streams:
		return c.stream(nil)
	case m == nil:
		return c.guess()
	case m.Kind == "stream":
		return c.stream(nil)
	case c.streams:
		return advisedf(fmt.Sprintf("standpipe call %s %s", c.name, c.method), "%s is no stream: it is called once for each value", c.method)
	}
	return c.unary(c.first())
}

// unary calls with a value, and with those behind it.
func (c *calling) unary(in rpc.Raw, err error) error {
	for ; err == nil; in, err = c.next(c.ctx) {
		if err := c.once(in); err != nil {
			return err
		}
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// guess calls the method of a server that does not say what it is: as a unary one, and as a stream, where it is not that. What
// is answered with Unimplemented has not run.
func (c *calling) guess() error {
	in, err := c.first()
	if err != nil {
		return c.unary(in, err)
	}
	err = c.once(in)
	switch {
	case err == nil:
		return c.unary(c.next(c.ctx))
	case rpc.CodeOf(err) != rpc.Unimplemented:
		return err
	}
	first := &in
	if c.values.none {
		first = nil
	}
	if other := c.stream(first); rpc.CodeOf(other) != rpc.Unimplemented {
		return other
	}
	return err
}

// first is the first value for a unary call: null, where there is none at all.
func (c *calling) first() (rpc.Raw, error) {
	if c.values.none {
		return c.encode(json.RawMessage("null"))
	}
	return c.next(c.ctx)
}

// next is the next value, encoded, and io.EOF behind the last.
func (c *calling) next(ctx context.Context) (rpc.Raw, error) {
	text, err := c.values.next(ctx)
	if err != nil {
		return rpc.Raw{}, err
	}
	return c.encode(text)
}

// encode checks a value, and encodes it.
func (c *calling) encode(text json.RawMessage) (rpc.Raw, error) {
	c.count++
	if c.codec == rpc.JSON && (c.in == nil || !c.check) {
		return rpc.Raw{Codec: rpc.JSON, Data: text}, nil
	}
	v, err := parseJSON(text)
	if err == nil && c.in != nil && c.check {
		err = c.in.check(v)
	}
	if err != nil {
		hint := fmt.Sprintf("standpipe describe %s %s shows what it takes; --no-check sends a value as it is", c.name, c.method)
		return rpc.Raw{}, c.unfit(hint, err)
	}
	if c.codec == rpc.MessagePack {
		if v, err = typed(v, c.in); err == nil {
			text, err = rpc.MessagePack.Append(nil, v)
		}
		if err != nil {
			return rpc.Raw{}, c.unfit("--codec json sends a value as it is written", err)
		}
	}
	return rpc.Raw{Codec: c.codec, Data: text}, nil
}

// unfit is the error for a value that the method does not take.
func (c *calling) unfit(hint string, err error) error {
	if c.values.none && c.in != nil {
		takes, _ := brief(c.in.text, "itself")
		return advisedf(hint, "it takes a value: %s", takes)
	}
	which := ""
	if c.values.where != "" {
		which = fmt.Sprintf("value %d of %s: ", c.count, c.values.where)
	}
	return advisedf(hint, "%s%s", which, plain(err.Error()))
}

// once makes one call and prints its result.
func (c *calling) once(in rpc.Raw) error {
	ctx, cancel := limited(c.ctx, c.timeout)
	defer cancel()
	var header, trailer rpc.Metadata
	if c.verbose {
		ctx = rpc.WithReply(ctx, &header, &trailer)
	}
	out, err := rpc.Call[rpc.Raw](ctx, c.peer, c.method, in)
	c.showMeta("header", header)
	defer func() { c.showMeta("trailer", trailer) }()
	if err != nil {
		return err
	}
	return c.print(out)
}

// print prints a value as one line of JSON, at once.
func (c *calling) print(out rpc.Raw) error {
	text, err := out.Data, error(nil)
	if c.codec == rpc.MessagePack {
		text, err = msgpackToJSON(text)
	}
	var line bytes.Buffer
	if err == nil {
		err = json.Compact(&line, text)
	}
	if err != nil {
		return fmt.Errorf("what came can't be shown: %w", err)
	}
	line.WriteByte('\n')
	_, err = c.cmd.OutOrStdout().Write(line.Bytes())
	return err
}

// showMeta prints metadata, a value on a line, where that is asked for.
func (c *calling) showMeta(what string, md rpc.Metadata) {
	if !c.verbose {
		return
	}
	for _, key := range sortedKeys(md) {
		for _, value := range md[key] {
			if plain(value) != value {
				value = strconv.Quote(value)
			}
			fmt.Fprintf(c.cmd.ErrOrStderr(), "%s %s=%s\n", what, key, value)
		}
	}
}

// errTimeout is the cause of contexts that --timeout has ended.
var errTimeout = errors.New("the time that --timeout gives was up")

func limited(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, timeout, errTimeout)
}
