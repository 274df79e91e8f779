// Command engine is the front end of an inference engine in Python, which is engine.py beside it:
//
//	engine embed TEXT TEXT...      how near the meanings of the texts are
//	engine generate PROMPT         the language model's answer, as it is made; Ctrl-C cancels
//	engine image FILE              a picture (PNG, JPEG, GIF), decoded here, looked at there, and not copied between
//	engine tensor MEGABYTES        the same of many random numbers, with the time that it took
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "engine:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("engine", flag.ContinueOnError)
	name := flags.String("name", "engine", "what the engine is served as")
	limit := flags.Int("limit", 128, "the most tokens of an answer")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() < 2 {
		return errors.New("usage: engine [-name NAME] [-limit TOKENS] embed TEXT... | generate PROMPT | image FILE | tensor MEGABYTES")
	}
	dialling, cancel := context.WithTimeout(ctx, 20*time.Second) // it loads its models
	defer cancel()
	p, err := rpc.Dial(dialling, *name, &rpc.DialConfig{Wait: true})
	if err != nil {
		return fmt.Errorf("%w (is examples/engine/engine.py running?)", err)
	}
	defer p.Close()
	switch what, rest := flags.Arg(0), flags.Args()[1:]; what {
	case "embed":
		return embed(ctx, p, rest, out)
	case "generate":
		return generate(ctx, p, prompt{Text: strings.Join(rest, " "), Limit: *limit}, out)
	case "image":
		return describeImage(ctx, p, rest[0], out)
	case "tensor":
		megabytes, err := strconv.Atoi(rest[0])
		if err != nil || megabytes < 1 {
			return fmt.Errorf("%q is not a number of megabytes", rest[0])
		}
		return describeRandom(ctx, p, megabytes, out)
	default:
		return fmt.Errorf("there is no command %q", what)
	}
}
