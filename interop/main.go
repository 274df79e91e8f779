// Command interop is Go's peer of spec/interop.md, which all implementations of standpipe have: the methods and the cases that
// every one of them must be able to do with every other.
//
//	interop serve NAME           serve the methods, until standard input ends
//	interop run NAME CASE...     run cases against a server
//	interop cases                list the cases
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

// patience is how long a case may take.
const patience = time.Minute

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1])
	case len(args) > 2 && args[0] == "run":
		return runCases(args[1], args[2:])
	case len(args) == 1 && args[0] == "cases":
		for _, c := range cases {
			fmt.Println(c.name)
		}
		return nil
	}
	return fmt.Errorf("usage: interop serve NAME | run NAME CASE... | cases")
}

// A testCase is one of spec/interop.md.
type testCase struct {
	name string
	run  func(ctx context.Context, p *rpc.Peer) error
}

var cases []testCase

func runCases(name string, names []string) error {
	failed := 0
	for _, n := range names {
		err := runCase(name, n)
		if err != nil {
			failed++
			fmt.Printf("FAIL %s: %q\n", n, err.Error())
			continue
		}
		fmt.Printf("ok %s\n", n)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d cases failed", failed, len(names))
	}
	return nil
}

func runCase(server, name string) error {
	for _, c := range cases {
		if c.name != name {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		own := rpc.NewServer(nil)
		rpc.Handle(own, "name", func(context.Context, any) (string, error) { return "case", nil })
		p, err := rpc.Dial(ctx, server, &rpc.DialConfig{Wait: true, Server: own})
		if err != nil {
			return err
		}
		defer p.Close()
		return c.run(ctx, p)
	}
	return fmt.Errorf("there is no such case")
}

// untilEOF waits for the end of standard input.
func untilEOF() { io.Copy(io.Discard, os.Stdin) }
