package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const (
	benchSizesAll   = "64,1K,4K,64K,1M,16M,256M"
	benchSizesQuick = "64,4K,1M"
	benchTimeAll    = time.Minute
	benchTimeQuick  = 6 * time.Second
	benchRounds     = 3
)

// benchOptions is what was asked for.
type benchOptions struct {
	quick, json, csv  bool
	sizes, only, html string
	redis             string // where Redis is
	duration          time.Duration
}

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure local IPC on this machine: calls, Buffers, sockets or pipes, TCP, UDP, HTTP, gRPC, Redis",
		Long: `bench measures the ways in which two processes of this machine can talk, each with its server in a process of its own: our calls and Buffers, a bare
named pipe or Unix socket, TCP, UDP, HTTP/1.1, gRPC, and Redis where one answers. For each size of messages it prints how long round trips take, how many
messages go one way in a second, and the processor time that both processes use for each; then what to take.

Each way has its turn several times; what is printed are the medians.`,
		Args: arguments(0, 0, "none"),
	}
	var o benchOptions
	cmd.Flags().BoolVar(&o.quick, "quick", false, "fewer sizes ("+benchSizesQuick+"), and less time for each")
	cmd.Flags().StringVar(&o.sizes, "sizes", "", "sizes of messages, such as 64,4KiB,1M (default "+benchSizesAll+")")
	cmd.Flags().StringVar(&o.only, "only", "", "the ways to measure: call, buffer, bare, tcp, udp, http, grpc, redis (default all)")
	cmd.Flags().StringVar(&o.redis, "redis", benchRedisAddr, "where Redis answers, as host:port")
	cmd.Flags().DurationVar(&o.duration, "duration", 0, "how long all the measuring takes; large messages may take longer (default 1m0s, with --quick 6s)")
	cmd.Flags().BoolVar(&o.json, "json", false, "print a JSON object instead of a table; its times are in microseconds")
	cmd.Flags().BoolVar(&o.csv, "csv", false, "print lines of comma-separated values instead of a table")
	cmd.Flags().StringVar(&o.html, "html", "", "write a page with plots to this file, too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return bench(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

func bench(ctx context.Context, o benchOptions, stdout, stderr io.Writer) (err error) {
	plan, err := o.plan()
	if err != nil {
		return err
	}
	// A file that can't be written is better known before than after.
	var page *os.File
	if o.html != "" {
		if page, err = os.Create(o.html); err != nil {
			return err
		}
		defer page.Close()
	}
	say, wipe := benchProgress(stderr)
	r, err := measureBench(ctx, plan, say)
	wipe()
	if err != nil {
		if page != nil {
			os.Remove(o.html)
		}
		return err
	}
	if page != nil {
		if _, err := io.WriteString(page, r.page()); err != nil {
			return err
		}
		if err := page.Close(); err != nil {
			return err
		}
	}
	out := bufio.NewWriter(stdout)
	switch {
	case o.json:
		err = r.printJSON(out)
	case o.csv:
		err = r.printCSV(out)
	default:
		r.printTable(out)
		if page != nil {
			fmt.Fprintf(out, "\nThe page with the plots: %s\n", o.html)
		}
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

// plan is what the options ask for.
func (o benchOptions) plan() (plan benchPlan, err error) {
	if o.json && o.csv {
		return plan, usagef("--json and --csv can't be had at once")
	}
	plan.rounds, plan.duration = benchRounds, o.duration
	sizes := o.sizes
	if sizes == "" && o.quick {
		sizes = benchSizesQuick
	} else if sizes == "" {
		sizes = benchSizesAll
	}
	if plan.sizes, err = parseBenchSizes(sizes); err != nil {
		return plan, err
	}
	if plan.ways, err = chooseBenchWays(o.only); err != nil {
		return plan, err
	}
	if _, _, err := net.SplitHostPort(o.redis); err != nil {
		return plan, usagef("--redis: %q is no host:port", o.redis)
	}
	for _, w := range plan.ways {
		if w.name == "redis" {
			w.addr = o.redis
		}
	}
	switch {
	case o.duration < 0:
		return plan, usagef("--duration: %v is no time to measure in", o.duration)
	case o.duration == 0 && o.quick:
		plan.duration = benchTimeQuick
	case o.duration == 0:
		plan.duration = benchTimeAll
	}
	return plan, nil
}

// benchProgress draws a bar and what is being done, on a terminal only.
func benchProgress(w io.Writer) (say func(done float64, what string), wipe func()) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func(float64, string) {}, func() {}
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 2 {
		width = 80
	}
	line := func(text string) { fmt.Fprintf(w, "\r%-*s", width-1, benchCut(text, width-1)) }
	say = func(done float64, what string) { line(benchBar(done, what)) }
	return say, func() { line(""); fmt.Fprint(w, "\r") }
}

// benchBar is a bar of which a part is done.
func benchBar(done float64, what string) string {
	const length = 24
	full := int(done*length + 0.5)
	return fmt.Sprintf("[%s%s] %3.0f%% %s", strings.Repeat("#", full), strings.Repeat("-", length-full), done*100, what)
}

// benchCut is the beginning of a text.
func benchCut(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most])
	}
	return text
}
