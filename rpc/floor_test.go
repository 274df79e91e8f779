package rpc_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

// The distance from the floor: a typed call of 64 bytes each way, beside the same bytes over the bare connection, both
// with a server in a process of its own, in turns.

const childEnv = "STANDPIPE_FLOOR_CHILD"

type payload struct {
	Data []byte `json:"data"`
}

// floorChild serves until its standard input ends.
func floorChild(name string) error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	bare, err := standpipe.Listen(name+"-bare", nil)
	if err != nil {
		return err
	}
	defer bare.Close()
	go bareEcho(bare)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		return err
	}
	s := rpc.NewServer(nil)
	rpc.Handle(s, "echo", func(_ context.Context, in payload) (payload, error) { return in, nil })
	fmt.Println("ready")
	return s.Serve(ctx, ln)
}

func bareEcho(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			var size [4]byte
			if _, err := io.ReadFull(c, size[:]); err != nil {
				return
			}
			for b := make([]byte, binary.LittleEndian.Uint32(size[:])); ; {
				if _, err := io.ReadFull(c, b); err != nil {
					return
				}
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}()
	}
}

// floorPair makes a round trip over the bare connection, and a call, of that many bytes.
func floorPair(t testing.TB, name string, size int) (bare, call func() error) {
	c, err := standpipe.Dial(context.Background(), name+"-bare", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := rpc.Dial(context.Background(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); p.Close(); <-p.Done() })
	if _, err := c.Write(binary.LittleEndian.AppendUint32(nil, uint32(size))); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	bare = func() error {
		if _, err := c.Write(b); err != nil {
			return err
		}
		_, err := io.ReadFull(c, b)
		return err
	}
	in := payload{make([]byte, size)}
	call = func() error {
		_, err := rpc.Call[payload](context.Background(), p, "echo", in)
		return err
	}
	return bare, call
}

// floorServer starts the child.
func floorServer(t testing.TB) (name string) {
	name = freshName()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child says %q", line)
	}
	return name
}

func BenchmarkFloor(b *testing.B) {
	name := floorServer(b)
	for _, size := range []int{64, 4 << 10, 64 << 10, 1 << 20} {
		bare, call := floorPair(b, name, size)
		for way, f := range map[string]func() error{"bare": bare, "call": call} {
			b.Run(fmt.Sprintf("%s/%d", way, size), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// A call costs at most 2.5 times a bare round trip: the median of the ratios of rounds side by side. It is measured while
// no other tests run: `make floor`.
func TestFloor(t *testing.T) {
	if os.Getenv("STANDPIPE_FLOOR") == "" {
		t.Skip("make floor runs this alone")
	}
	bare, call := floorPair(t, floorServer(t), 64)
	median := func(f func() error) time.Duration {
		var all []time.Duration
		for start := time.Now(); time.Since(start) < 100*time.Millisecond || len(all) < 100; {
			t0 := time.Now()
			if err := f(); err != nil {
				t.Fatal(err)
			}
			all = append(all, time.Since(t0))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	median(bare)
	median(call)
	var ratios []float64
	for range 9 {
		ratios = append(ratios, float64(median(call))/float64(median(bare)))
	}
	slices.Sort(ratios)
	t.Logf("a call costs %.2f times a bare round trip (%.2f to %.2f)", ratios[4], ratios[0], ratios[8])
	if ratios[4] > 2.5 {
		t.Errorf("a call costs %.2f times a bare round trip; at most 2.5 are allowed", ratios[4])
	}
}
