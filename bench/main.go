// Command bench measures standpipe beside its peers: libraries and programs by which two processes of one machine talk to each
// other. The floor is a bare Unix socket that carries the same bytes.
//
//	go run ./bench                                   all contenders; tables on standard output
//	go run ./bench -only unix,standpipe,grpc-go      some of them
//	go run ./bench -json result.json                 all numbers of all rounds, too
//	go run ./bench -targets                          who the targets are about, and what of them is reached
//	go run ./bench -pin same                         both processes on one CPU (split: on one each)
//
// The server and the client of a contender are two processes. They are started anew in each round, and a round goes over all
// contenders, so that a noisy minute of the machine hits all alike. The tables show medians of the rounds. docs/performance.md
// says how to read them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // a contender failed, or nothing could be measured
	exitUsage  = 2
)

// plan is what to measure; the client's process gets it as JSON.
type plan struct {
	Sizes    []int         // of calls, in bytes
	Bulk     []int         // of one-way messages
	Callers  int           // how many call at once
	Duration time.Duration // of each measure
	Idle     int           // connections
	Carry    int           // bytes that a call carries in memory
	CPUs     []int         // all that the processes may use: what computes beside them is there
	Parts    string        // letters: see the parts
}

// The parts of a plan.
const (
	partLatency    = "l"
	partPaced      = "p"
	partConcurrent = "c"
	partLoaded     = "s"
	partBulk       = "b"
	partCarry      = "h"
	partIdle       = "i"
	partQuiet      = "q"
	partAll        = partLatency + partPaced + partConcurrent + partLoaded + partBulk + partCarry + partIdle + partQuiet
)

func (p plan) has(part string) bool { return strings.Contains(p.Parts, part) }

// settings is what the command line says.
type settings struct {
	plan
	run    []*contender
	rounds int
	pin    pinning
	copies bool
	calm   time.Duration
	json   string
	list   bool
	quiet  bool

	targets bool
}

func main() {
	if side := os.Getenv(sideEnv); side != "" {
		runSide(side, os.Args[1:])
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the program at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program, and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitUsage
	}
	if s.list {
		for _, c := range s.run {
			fmt.Fprintf(stdout, "%-17s %-6s %s\n", c.name, c.over, c.note)
		}
		return exitOK
	}
	if err := supported(); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	r := measureAll(ctx, s, stderr)
	if err := ctx.Err(); err != nil {
		fmt.Fprintln(stderr, "bench: interrupted")
		return exitFailed
	}
	if s.json != "" {
		if err := writeJSON(s.json, r); err != nil {
			fmt.Fprintln(stderr, "bench:", err)
			return exitFailed
		}
	}
	r.markdown(stdout)
	if len(r.Failed) > 0 || len(r.Median) == 0 {
		return exitFailed
	}
	return exitOK
}

func parse(args []string, stderr io.Writer) (settings, error) {
	s := settings{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	only := f.String("only", "", "contenders, separated by commas; all if empty")
	not := f.String("not", "", "contenders to leave out, separated by commas")
	f.IntVar(&s.rounds, "rounds", 5, "rounds over all contenders")
	f.DurationVar(&s.Duration, "dur", 250*time.Millisecond, "length of each measure")
	f.IntVar(&s.Callers, "callers", 64, "how many call at once")
	f.IntVar(&s.Idle, "idle", 1000, "idle connections")
	f.IntVar(&s.Carry, "carry", 300e6, "bytes that a call carries in memory")
	f.StringVar(&s.Parts, "parts", partAll, "what to measure: l latency, p paced calls, c concurrent calls, s calls while others spin, b bulk, "+
		"h calls that carry huge memory, i idle connections, q what quiet ones cost")
	sizes := f.String("sizes", "64,4096,65536,1048576", "bytes of calls")
	bulk := f.String("bulk", "65536,1048576,67108864,300000000", "bytes of one-way messages; above 64 MiB, of some contenders")
	pin := f.String("pin", "none", "CPUs of the two processes: none, split (one each) or same (one for both)")
	f.BoolVar(&s.copies, "memcpy", true, "measure copying in memory, too")
	f.DurationVar(&s.calm, "calm", 2*time.Second, "wait so long at most, each time, until other processes leave the CPUs alone")
	f.StringVar(&s.json, "json", "", "write all numbers to this file")
	f.BoolVar(&s.targets, "targets", false, "measure those that the targets are about, unless -only names others, and some rounds more with -pin same; say what is reached")
	f.BoolVar(&s.list, "list", false, "list the contenders, and measure nothing")
	f.BoolVar(&s.quiet, "q", false, "no progress on standard error")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if f.NArg() > 0 {
		return s, fmt.Errorf("there are no arguments besides the flags: %q", f.Args())
	}
	if s.targets && *only == "" {
		*only = strings.Join(targetContenders(), ",")
	}
	var err error
	if s.run, err = choose(*only, *not); err != nil {
		return s, err
	}
	if s.Sizes, err = integers("-sizes", *sizes); err != nil {
		return s, err
	}
	if s.Bulk, err = integers("-bulk", *bulk); err != nil {
		return s, err
	}
	if s.pin, err = parsePinning(*pin); err != nil {
		return s, err
	}
	if strings.Trim(s.Parts, partAll) != "" || s.Parts == "" {
		return s, fmt.Errorf("-parts: %q is not some of the letters %s", s.Parts, partAll)
	}
	if s.rounds < 1 || s.Duration <= 0 || s.Callers < 1 || s.Idle < 1 || s.Carry < 1 {
		return s, errors.New("-rounds, -dur, -callers, -idle and -carry must be positive")
	}
	s.CPUs = allowed()
	return s, nil
}

// integers parses sizes that are separated by commas.
func integers(name, list string) ([]int, error) {
	var sizes []int
	for field := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < smallest {
			return nil, fmt.Errorf("%s: %q is not a number of bytes, %d at least", name, field, smallest)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

// measureAll runs the rounds.
func measureAll(ctx context.Context, s settings, stderr io.Writer) *report {
	r := newReport(s)
	run := r.present(s.run, stderr)
	if s.copies {
		r.Copies = copies(s.Duration, s.plan)
	}
	for i := range s.rounds {
		for _, c := range run {
			if ctx.Err() != nil {
				return r
			}
			awaitCalm(ctx, s.calm)
			start := time.Now()
			res, err := measureOne(ctx, s, c, i == 0)
			if ctx.Err() != nil {
				return r
			}
			if err != nil {
				fmt.Fprintf(stderr, "bench: %s FAILED in round %d: %v\n", c.name, i+1, err)
				r.Failed[c.name] = err.Error()
				continue
			}
			r.add(c.name, i, res)
			if s.targets {
				r.pin(ctx, s, c, i)
			}
			if !s.quiet {
				fmt.Fprintf(stderr, "round %d  %-17s %5.1f s  %s\n", i+1, c.name, time.Since(start).Seconds(), res.brief())
			}
		}
	}
	return r
}

// measureOne measures a contender in one round.
func measureOne(ctx context.Context, s settings, c *contender, first bool) (*result, error) {
	p := s.plan
	p.Parts = strings.NewReplacer(partIdle, "", partQuiet, "").Replace(p.Parts)
	res, err := runPair(ctx, c, p, s.pin)
	if err != nil || !first {
		return res, err
	}
	// In fresh processes, and once: memory does not depend on the noise.
	for _, part := range []string{partIdle, partQuiet} {
		if !s.has(part) || !c.takes(part) {
			continue
		}
		p.Parts = part
		r, err := runPair(ctx, c, p, s.pin)
		if err != nil {
			return nil, err
		}
		if part == partIdle {
			res.Idle = r.Idle
		} else {
			res.Quiet = r.Quiet
		}
	}
	return res, nil
}

// awaitCalm waits until all processes of the machine have used less than a tenth of a CPU for a while.
func awaitCalm(ctx context.Context, limit time.Duration) {
	const slice = 100 * time.Millisecond
	for end, calm := time.Now().Add(limit), 0; calm < 3 && time.Now().Before(end) && ctx.Err() == nil; calm++ {
		before, start := busy(), time.Now()
		time.Sleep(slice)
		if busy()-before > time.Since(start)/10 {
			calm = -1
		}
	}
}

func writeJSON(file string, r *report) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o666)
}
