package pipetest

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

// A connCase is one promise about two connected ends. It returns what was broken, rather than fail a test, so that it can
// be run where it is known to be broken, too. Every wait of it ends by itself.
type connCase struct {
	name string
	run  func(w wait, a, b net.Conn) error
}

// connCases, in the order of docs/errors.md and the doc of standpipe.Conn.
var connCases = []connCase{
	{"CloseKeepsData", closeKeepsData},
	{"EOFAgain", eofAgain},
	{"CloseTwice", closeTwice},
	{"CloseEndsRead", closeEndsRead},
	{"CloseEndsWrite", closeEndsWrite},
	{"PeerEndsRead", peerEndsRead},
	{"PeerEndsWrite", peerEndsWrite},
	{"WriteToGone", writeToGone},
	{"NoBytes", noBytes},
	{"ReadDeadline", readDeadline},
	{"WriteDeadline", writeDeadline},
	{"PastDeadline", pastDeadline},
	{"MovingDeadline", movingDeadline},
	{"BothWays", bothWays},
	{"WholeWrites", wholeWrites},
	{"CloseWrite", closeWrite},
}

// TestConn holds a transport against what a stream of this module promises: nettest.TestConn, and beyond it that data
// written before a Close arrives, what ends a wait and with which error, deadlines that move, and more. mk makes two
// connected ends; stop frees what it took.
//
// A transport that differs knowingly names the cases, such as "CloseWrite" for one that has no half-close. They are run
// all the same, and must fail.
func TestConn(t *testing.T, mk nettest.MakePipe, differs ...string) {
	t.Run("nettest", func(t *testing.T) { nettest.TestConn(t, held(mk)) })
	for _, name := range differs {
		if !slices.ContainsFunc(connCases, func(c connCase) bool { return c.name == name }) {
			t.Errorf("there is no case %q", name)
		}
	}
	for _, c := range connCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // those that differ may wait
			a, b, stop, err := mk()
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			defer a.Close()
			defer b.Close()
			differs := slices.Contains(differs, c.name)
			judge(t, within(c.run, waitFor(differs), a, b), differs)
		})
	}
}

// held keeps both ends until the test is done with them. Some of nettest's cases use one only, and the garbage collector
// would close the other.
func held(mk nettest.MakePipe) nettest.MakePipe {
	return func() (a, b net.Conn, stop func(), err error) {
		a, b, stopAll, err := mk()
		return a, b, func() {
			stopAll()
			runtime.KeepAlive(a)
			runtime.KeepAlive(b)
		}, err
	}
}

// judge fails the test where a promise was broken, or was kept against what the caller knows.
func judge(t *testing.T, err error, differs bool) {
	t.Helper()
	switch {
	case err == nil && differs:
		t.Error("it is said to differ here, but does not: take it from the list")
	case err != nil && differs:
		t.Logf("differs, as the caller says: %v", err)
	case err != nil:
		t.Error(err)
	}
}

// within runs a case, and closes both ends if it does not end by itself.
func within(run func(w wait, a, b net.Conn) error, w wait, a, b net.Conn) error {
	done := after(func() error { return run(w, a, b) })
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		a.Close()
		b.Close()
		return errors.Join(fmt.Errorf("it did not end within %v", patience), <-done)
	}
}

// wait is how long a step of a case waits for what must come.
type wait time.Duration

// waitFor: what never comes is not waited for long.
func waitFor(differs bool) wait {
	if differs {
		return wait(time.Second)
	}
	return wait(10 * time.Second)
}

// soon is a deadline for what must not hang.
func (w wait) soon() time.Time { return time.Now().Add(time.Duration(w)) }

// await is the error of a call in the background, which must end.
func (w wait) await(what string, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-time.After(time.Duration(w)):
		return fmt.Errorf("%s: it still waits", what)
	}
}

// want compares errors.
func want(what string, err, wanted error) error {
	if errors.Is(err, wanted) {
		return nil
	}
	return fmt.Errorf("%s: %v, want %v", what, err, wanted)
}

// after calls in the background.
func after(call func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	return done
}

// reading reads a byte in the background.
func reading(c net.Conn) <-chan error {
	return after(func() error { _, err := c.Read(make([]byte, 1)); return err })
}

// joined waits for calls in the background, however long they take.
func joined(all []<-chan error) error {
	var errs []error
	for _, done := range all {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

// waiting gives a call that is to be interrupted the time to begin. Where that is too short, the case tests a call that
// comes too late, which must end the same way.
func waiting() { time.Sleep(20 * time.Millisecond) }
