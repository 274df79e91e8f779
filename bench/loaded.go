package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// loaded measures small calls while each CPU has a process on it that computes. Such a CPU is shared: whoever looks for a message instead of
// sleeping takes the time from somebody.
func (m *measurement) loaded(c client) error {
	stop, err := compute(m.plan.CPUs)
	if err != nil {
		return err
	}
	defer stop()
	l := &loaded{}
	if l.Latency, err = m.latency(c, smallCall, 0); err != nil {
		return err
	}
	if l.Concurrent, err = m.concurrent(c); err != nil {
		return err
	}
	m.r.Loaded = l
	return nil
}

// sideComputes makes this program a process that computes until its standard input ends: with whoever started it, however that ends.
const sideComputes = "computes"

// computing is the longest that such a process lives in any case.
const computing = 2 * stepTimeout

// compute starts a process on each of the CPUs that computes until stop.
func compute(cpus []int) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	for _, cpu := range cpus {
		s, err := computeOn(cpu)
		if err != nil {
			stop()
			return nil, err
		}
		stops = append(stops, s)
	}
	if stops == nil {
		return nil, errors.New("it is not known which CPUs there are")
	}
	return stop, nil
}

func computeOn(cpu int) (stop func(), err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), sideEnv+"="+sideComputes)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startOn(cmd, []int{cpu}); err != nil {
		return nil, err
	}
	stop = func() {
		in.Close()
		kill(cmd)
		cmd.Wait()
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // it has begun
		stop()
		return nil, err
	}
	return stop, nil
}

// computes is the whole of such a process.
func computes() {
	runtime.GOMAXPROCS(2) // what ends it need not wait for a turn
	time.AfterFunc(computing, func() { os.Exit(exitFailed) })
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(exitOK)
	}()
	os.Stdout.Write([]byte{'.'})
	for n := 0; ; n++ {
		if n < 0 {
			n = 0
		}
	}
}

func ofLoaded(f func(*loaded) float64) figure {
	return func(r *result) (float64, bool) {
		if r.Loaded == nil {
			return 0, false
		}
		return f(r.Loaded), true
	}
}

var (
	loadedP50  = ofLoaded(func(l *loaded) float64 { return l.Latency.P50 })
	loadedP99  = ofLoaded(func(l *loaded) float64 { return l.Latency.P99 })
	loadedRate = ofLoaded(func(l *loaded) float64 { return l.Concurrent.Rate })
)

func (r *report) loaded() *table {
	t := &table{title: "While others compute", text: "Calls of " + size(smallCall) + " while each CPU has a process that computes without end: one caller, and many. " +
		"CPU time is of both processes of the contender, in µs for a call.",
		columns: []string{"contender", "p50 µs", "×", "p99 µs", "×", "rounds' p99 µs", "CPU µs", "many: calls/s", "×", "rounds' calls/s", "CPU µs"}, left: 1}
	for _, c := range r.ordered(1, loadedP50) {
		l := r.Median[c.name].Loaded
		t.row(c.label(), number(l.Latency.P50), r.ratio(c.name, loadedP50), number(l.Latency.P99), r.ratio(c.name, loadedP99),
			r.spread(c.name, loadedP99, number), number(l.Latency.CPU), thousands(l.Concurrent.Rate), r.ratio(c.name, loadedRate),
			r.spread(c.name, loadedRate, thousands), number(l.Concurrent.CPU))
	}
	return t
}
