package pipetest

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
)

// Main is for TestMain. It runs the tests, and fails if they pass but leave something behind: goroutines, descriptors or
// handles, mappings of shared memory, or the endpoints of names that Name has made. It does not return.
//
// What may end a moment after its test, such as the goroutine of a server that was just closed, is waited for. Mappings
// are seen on Linux and Windows only.
func Main(m *testing.M) {
	warmUp()
	before := takeCensus()
	code := m.Run()
	if code == 0 && !fuzzing() {
		if left := whatIsLeft(before); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "pipetest: the tests passed, but left behind:\n\n%s\n", strings.Join(left, "\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// warmUp makes what the process makes once and keeps: the poller of the runtime, and the completion port of Windows.
func warmUp() {
	if a, b, err := standpipe.Pipe(); err == nil {
		a.Close()
		b.Close()
	}
}

// fuzzing: then the testing package has processes, memory and files of its own.
func fuzzing() bool {
	for _, name := range []string{"test.fuzz", "test.fuzzworker"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" && f.Value.String() != "false" {
			return true
		}
	}
	return false
}

// census is what there is at one moment: each thing by a key of its own, with a text for people.
type census map[string]string

func takeCensus() census {
	c := census{}
	maps.Copy(c, goroutines())
	maps.Copy(c, descriptors())
	maps.Copy(c, mappings())
	return c
}

// since is what c has and before has not.
func (c census) since(before census) []string {
	var more []string
	for _, key := range slices.Sorted(maps.Keys(c)) {
		if _, old := before[key]; !old {
			more = append(more, c[key])
		}
	}
	return more
}

// whatIsLeft waits up to five seconds for all to go that was not there before.
func whatIsLeft(before census) []string {
	pause := time.Millisecond
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(pause) {
		left := append(takeCensus().since(before), endpoints()...)
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
}

// endpoints are the names made by Name that are still there.
func endpoints() []string {
	handedOut.Lock()
	defer handedOut.Unlock()
	var left []string
	for _, addr := range handedOut.addrs {
		for _, what := range remains(addr.String()) {
			left = append(left, fmt.Sprintf("endpoint %s: %s", addr.Name(), what))
		}
	}
	return left
}

// goroutines are all but this one, and those that the standard library starts once and keeps.
func goroutines() census {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	c := census{}
	for i, text := range strings.Split(string(buf), "\n\n") {
		if i == 0 || strings.Contains(text, "os/signal.signal_recv") {
			continue // the first is the caller
		}
		key, _, _ := strings.Cut(text, " [") // "goroutine 17"
		c[key] = text + "\n"
	}
	return c
}
