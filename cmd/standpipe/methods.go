package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

// newServer has the methods of serve.
func newServer() *rpc.Server {
	s := rpc.NewServer(nil)
	s.Doc("echo", "Gives any value back as it came.")
	rpc.Handle(s, "echo", func(_ context.Context, in rpc.Raw) (rpc.Raw, error) { return in, nil })
	s.Doc("time", "The server's clock.")
	rpc.Handle(s, "time", func(context.Context, any) (time.Time, error) { return time.Now(), nil })
	s.Doc("sum", "The sum of numbers.")
	rpc.Handle(s, "sum", func(_ context.Context, in []float64) (float64, error) {
		var sum float64
		for _, x := range in {
			sum += x
		}
		return sum, nil
	})
	s.Doc("digest", "The length and the SHA-256 of a file's bytes.")
	rpc.Handle(s, "digest", digest)
	s.Doc("whoami", "Who the kernel says the caller is.")
	rpc.Handle(s, "whoami", func(ctx context.Context, _ any) (caller, error) { return callerOf(rpc.PeerFrom(ctx)), nil })
	s.Doc("sleep", "Waits that many seconds, at most an hour, or until the caller gives up.")
	rpc.Handle(s, "sleep", func(ctx context.Context, seconds float64) (float64, error) {
		if err := pause(ctx, seconds); err != nil {
			return 0, err
		}
		return seconds, nil
	})
	s.Doc("count", `Counts from 1 to "to" (0: without end), "pause" seconds apart, for each value that is sent.
Where none is sent: without end, a second apart.`)
	rpc.HandleStream(s, "count", count)
	s.Doc("words", "Sends the words of each text back, one by one. The trailer says how many there were.")
	rpc.HandleStream(s, "words", words)
	return s
}

// pause waits, until ctx ends.
func pause(ctx context.Context, seconds float64) error {
	if !(seconds >= 0 && seconds <= 3600) { // NaN is neither
		return rpc.Errorf(rpc.InvalidArgument, "a pause is 0 to 3600 seconds, not %v", seconds)
	}
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// digested is what digest takes, and digestOf what it returns.
type digested struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

type digestOf struct {
	Name   string `json:"name"`
	Size   int    `json:"size"`
	SHA256 []byte `json:"sha256"`
}

func digest(_ context.Context, in digested) (digestOf, error) {
	sum := sha256.Sum256(in.Data)
	return digestOf{in.Name, len(in.Data), sum[:]}, nil
}

// counting is what count is to do.
type counting struct {
	To    int64   `json:"to"`
	Pause float64 `json:"pause"`
}

func count(ctx context.Context, st *rpc.Stream[counting, int64]) error {
	for asked := false; ; asked = true {
		c, err := st.Recv()
		switch {
		case errors.Is(err, io.EOF) && asked:
			return nil
		case errors.Is(err, io.EOF):
			c.Pause = 1
		case err != nil:
			return err
		}
		for n := int64(1); c.To == 0 || n <= c.To; n++ {
			if n > 1 {
				if err := pause(ctx, c.Pause); err != nil {
					return err
				}
			}
			if err := st.Send(n); err != nil {
				return err
			}
		}
	}
}

func words(ctx context.Context, st *rpc.Stream[string, string]) error {
	sent := 0
	for text, err := range st.All() {
		if err != nil {
			return err
		}
		for word := range strings.FieldsSeq(text) {
			if err := st.Send(word); err != nil {
				return err
			}
			sent++
		}
	}
	return rpc.SetTrailer(ctx, rpc.Metadata{"words": {strconv.Itoa(sent)}})
}

// caller is who calls, as the kernel and not the caller says.
type caller struct {
	User    string   `json:"user"`
	Who     string   `json:"who"`
	PID     int      `json:"pid,omitempty"`
	Program string   `json:"program,omitempty"`
	Groups  []string `json:"groups,omitempty"`
}

func callerOf(p *rpc.Peer) caller {
	id := p.Identity()
	c := caller{User: id.User, Who: id.String(), PID: id.PID, Groups: id.Groups}
	if conn, ok := p.Conn().(*standpipe.Conn); ok {
		c.Program, _ = conn.Program() // for people only: a program that may not be looked at is left out
	}
	return c
}
