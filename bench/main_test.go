package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/pipetest"
)

func TestMain(m *testing.M) {
	if side := os.Getenv(sideEnv); side != "" {
		runSide(side, os.Args[1:])
		return
	}
	pipetest.Main(m)
}

// Contenders that go wrong. They are registered here, so that the sides, which are this same program, know them too.
const (
	refuses = "test-refuses" // its server fails
	hangs   = "test-hangs"   // its server is never ready
	lies    = "test-lies"    // its responses are wrong, but of the right size
	lacks   = "test-lacks"   // this machine can't run it
)

func init() {
	fine := func(e *env) error { return floorServe(e, "unix") }
	dial := func(e *env) (client, error) { return floorDial(e, "unix") }
	register(contender{name: refuses, group: peers, serve: func(*env) error { return errors.New("it will not serve") }, dial: dial})
	register(contender{name: hangs, group: peers, serve: func(*env) error { return nil }, dial: dial})
	register(contender{name: lies, group: peers, serve: fine, dial: func(*env) (client, error) { return liar{}, nil }})
	register(contender{name: lacks, group: peers, serve: fine, dial: dial, missing: func() error { return errors.New("it is not installed") }})
}

type liar struct{}

func (liar) caller() (caller, error)         { return liar{}, nil }
func (liar) call(req []byte) ([]byte, error) { return make([]byte, len(req)), nil }
func (liar) close() error                    { return nil }

// runHere runs the program with flags for a quick round, in a folder that it must leave as it was.
func runHere(t *testing.T, ctx context.Context, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	if err := supported(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var out, errs strings.Builder
	quick := []string{"-rounds", "1", "-dur", "20ms", "-callers", "8", "-idle", "20", "-sizes", "64,4096", "-bulk", "65536", "-carry", "4194304", "-calm", "0"}
	code = run(ctx, slices.Concat(quick, args), &out, &errs)
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		t.Errorf("the run left %s", f.Name())
	}
	return code, out.String(), errs.String()
}

// A quick round of a few contenders measures everything.
func TestRound(t *testing.T) {
	names := []string{"unix", "standpipe", "standpipe-raw", "standpipe-buffer", "shmipc-go", "grpc-go"}
	file := filepath.Join(t.TempDir(), "new", "result.json")
	code, stdout, stderr := runHere(t, context.Background(), "-targets", "-only", strings.Join(names, ","), "-json", file)
	if code != exitOK {
		t.Fatalf("code %d\n%s", code, stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if len(r.Results[name]) != 1 || r.Median[name] == nil {
			t.Errorf("%s: %d rounds", name, len(r.Results[name]))
			continue
		}
		for what, f := range map[string]figure{"p50 of 64 B": p50(64), "p99 of 4 KiB": p99(4096), "after a pause": pacedP50, "rate": rate, "CPU": rateCPU,
			"bulk": bulkRate(65536), "connections": ofIdle(func(i *idle) float64 { return float64(i.Connections) }), "p50 while others compute": loadedP50,
			"p99 while others compute": loadedP99, "rate while others compute": loadedRate, "memory of quiet ones": quietMemory, "CPU of quiet ones": quietCPU} {
			if v, ok := f(r.Median[name]); !ok || v <= 0 {
				t.Errorf("%s, %s: %v, %v", name, what, v, ok)
			}
		}
		if !strings.Contains(stdout, name) || !strings.Contains(stderr, name) {
			t.Errorf("%s is not in the tables, or not in the progress", name)
		}
	}
	if v, ok := carryTimes(r.Median["standpipe-buffer"]); !ok || v <= 0 {
		t.Errorf("a call that carries memory takes %v times another one, %v", v, ok)
	}
	for name, pinned := range map[string]bool{"unix": true, "standpipe": true, "grpc-go": false} {
		if got := len(r.Pinned[name]); (got == 1) != pinned {
			t.Errorf("%s: %d rounds on one CPU", name, got)
		}
	}
	for _, title := range []string{"While others compute", "A call that carries 4 MiB", "Quiet connections", "Targets", "Overview", "One caller, p50", "One caller, p99", "A call after a pause", "8 callers", "One way", "Idle connections", "Contenders"} {
		if !strings.Contains(stdout, "\n## "+title+"\n") {
			t.Errorf("there is no table %q", title)
		}
	}
	if t.Failed() {
		t.Log(stdout)
	}
}

// Who is for one part only is in its table, beside a copy in memory.
func TestInPlace(t *testing.T) {
	code, stdout, stderr := runHere(t, context.Background(), "-only", "unix,standpipe-inplace")
	if code != exitOK {
		t.Fatalf("code %d\n%s", code, stderr)
	}
	_, oneWay, _ := strings.Cut(stdout, "\n## One way\n")
	oneWay, _, _ = strings.Cut(oneWay, "\n## ")
	for _, row := range []string{"| *memcpy* | memory |", "| *unix* | unix |", "| **standpipe-inplace** | memory |"} {
		if !strings.Contains(oneWay, "\n"+row) {
			t.Errorf("there is no row %q in\n%s", row, oneWay)
		}
	}
	if n := strings.Count(stdout, "| **standpipe-inplace** |"); n != 1 {
		t.Errorf("it is in %d tables", n)
	}
}

// Both processes may share a CPU, or have one each.
func TestPin(t *testing.T) {
	for _, pin := range []pinning{pinSame, pinSplit} {
		if code, _, stderr := runHere(t, context.Background(), "-only", "unix", "-pin", string(pin), "-parts", partLatency, "-memcpy=false"); code != exitOK {
			t.Errorf("%s: code %d\n%s", pin, code, stderr)
		}
	}
}

// What fails is said, and the others are measured.
func TestFailures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "result.json")
	only := strings.Join([]string{"unix", refuses, lies, lacks}, ",")
	code, stdout, stderr := runHere(t, context.Background(), "-only", only, "-parts", partLatency, "-memcpy=false", "-json", file)
	if code != exitFailed {
		t.Errorf("code %d", code)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if r.Median["unix"] == nil || len(r.Median) != 1 {
		t.Errorf("measured: %v", r.Median)
	}
	for name, reason := range map[string]string{refuses: "it will not serve", lies: "another content"} {
		if why := r.Failed[name]; !strings.Contains(why, reason) || !strings.Contains(stdout, why) {
			t.Errorf("%s has not failed, or not so: %q", name, why)
		}
	}
	if r.Missing[lacks] == "" || !strings.Contains(stdout, r.Missing[lacks]) || !strings.Contains(stderr, "LEFT OUT") {
		t.Errorf("%s is not missing: %q", lacks, r.Missing[lacks])
	}
}

// An interrupt ends the run at once, and the processes that it started.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	code, stdout, stderr := runHere(t, ctx, "-only", hangs, "-memcpy=false")
	if code != exitFailed || stdout != "" {
		t.Errorf("code %d, %q, %q", code, stdout, stderr)
	}
	if took := time.Since(start); took > startTimeout/2 {
		t.Errorf("it took %v", took)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"-no-such-flag"},
		{"argument"},
		{"-only", "nobody"},
		{"-not", "nobody"},
		{"-only", "unix", "-not", "unix"},
		{"-sizes", "64,many"},
		{"-sizes", "63"},
		{"-bulk", "-1"},
		{"-pin", "there"},
		{"-rounds", "0"},
		{"-dur", "0s"},
		{"-parts", "lx"},
		{"-parts", ""},
		{"-carry", "0"},
	} {
		var out, errs strings.Builder
		if code := run(context.Background(), args, &out, &errs); code != exitUsage || errs.Len() == 0 || out.Len() > 0 {
			t.Errorf("%q: code %d, %q", args, code, errs.String())
		}
	}
	var out, errs strings.Builder
	if code := run(context.Background(), []string{"-list"}, &out, &errs); code != exitOK || strings.Count(out.String(), "\n") != len(contenders) {
		t.Errorf("-list: code %d\n%s", code, out.String())
	}
	if code := run(context.Background(), []string{"-h"}, &out, &errs); code != exitOK {
		t.Errorf("-h: code %d", code)
	}
}

func TestChoose(t *testing.T) {
	all, err := choose("", "")
	if err != nil || len(all) != len(contenders) || all[0].group != floors {
		t.Errorf("all: %d, %v", len(all), err)
	}
	some, err := choose("grpc-go, standpipe,unix,tcp", "tcp")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range some {
		names = append(names, c.name)
	}
	if want := []string{"unix", "standpipe", "grpc-go"}; !slices.Equal(names, want) {
		t.Errorf("%q, not %q", names, want)
	}
}

// -targets measures those that the targets are about, and nobody else; -only still says who.
func TestTargetsChoose(t *testing.T) {
	for only, want := range map[string][]string{"": targetContenders(), "unix,tcp": {"tcp", "unix"}} {
		s, err := parse([]string{"-targets", "-only", only}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, c := range s.run {
			names = append(names, c.name)
		}
		slices.Sort(names)
		if !slices.Equal(names, want) || !s.targets {
			t.Errorf("-only %q: %q, not %q", only, names, want)
		}
	}
}

// The contenders are all there.
func TestContenders(t *testing.T) {
	for _, name := range []string{"unix", "standpipe", "standpipe-raw", "standpipe-off", "standpipe-buffer", "standpipe-inplace", "grpc-go", "connect-go", "ttrpc", "drpc", "net/rpc", "mangos", "nats",
		"redis-tcp", "http-tcp", "http-unix"} {
		if contenders[name] == nil {
			t.Errorf("%s is not there", name)
		}
	}
	for name, c := range contenders {
		if strings.HasPrefix(name, "test-") {
			continue
		}
		if c.note == "" || c.over == "" || c.serve == nil || c.dial == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
}
