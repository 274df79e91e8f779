package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

// way is one way to send bytes to the other process and get them back.
type way struct {
	name  string
	echo  func(ctx context.Context, in []byte) (out []byte, err error)
	close func() error
}

// demoWays connects to the child in every way.
func demoWays(ctx context.Context, at demoHello, peer *rpc.Peer) ([]way, error) {
	bare, err := bareDial(ctx, at.Bare)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	tcp, err := d.DialContext(ctx, "tcp", at.TCP)
	if err != nil {
		bare.Close()
		return nil, err
	}
	// A transport of its own: no proxy that the environment may name.
	web := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	return []way{
		{"standpipe call", func(ctx context.Context, in []byte) ([]byte, error) {
			return rpc.Call[[]byte](ctx, peer, "bytes", in)
		}, func() error { return nil }},
		{bareText, echoOver(bare), bare.Close},
		{"TCP on loopback", echoOver(tcp), tcp.Close},
		{"HTTP on loopback", echoByHTTP(web, "http://"+at.HTTP+"/"), func() error {
			web.CloseIdleConnections()
			return nil
		}},
	}, nil
}

// echoOver sends messages as echoBytes takes them: one write, and as few reads as can be.
func echoOver(conn net.Conn) func(context.Context, []byte) ([]byte, error) {
	out, back := make([]byte, 0, 4096), make([]byte, 4096)
	return func(_ context.Context, in []byte) ([]byte, error) {
		out = append(binary.LittleEndian.AppendUint32(out[:0], uint32(len(in))), in...)
		if _, err := conn.Write(out); err != nil {
			return nil, err
		}
		message, err := readMessage(conn, &back)
		if err != nil {
			return nil, err
		}
		return message[4:], nil
	}
}

func echoByHTTP(client *http.Client, url string) func(context.Context, []byte) ([]byte, error) {
	var back []byte
	return func(ctx context.Context, in []byte) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(in))
		if err != nil {
			return nil, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(in)) {
			return nil, fmt.Errorf("HTTP: status %s, %d bytes", resp.Status, resp.ContentLength)
		}
		back = slices.Grow(back[:0], len(in))[:len(in)]
		if _, err := io.ReadFull(resp.Body, back); err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, resp.Body) // to the end, so that the connection is used again
		return back, err
	}
}

var demoSizes = []struct {
	text  string
	bytes int
}{{"64 B", 64}, {"4 KiB", 4 << 10}, {"64 KiB", 64 << 10}, {"1 MiB", 1 << 20}}

// cell is what was measured for one way and size.
type cell []time.Duration

// quantile sorts the cell.
func (c cell) quantile(q float64) time.Duration {
	if len(c) == 0 {
		return 0
	}
	slices.Sort(c)
	return c[min(int(q*float64(len(c))), len(c)-1)]
}

// results has a row for each way, and in it a cell for each size.
type results struct {
	ways  []way
	cells [][]cell
}

// rounds is how often each way has its turn, so that a machine that changes its speed changes it for all.
const rounds = 4

// measureAll measures each way and size. Together it takes the budget, and a moment more for what is slow.
func measureAll(ctx context.Context, ways []way, budget time.Duration, say func(string)) (*results, error) {
	defer say("")
	r := &results{ways: ways, cells: make([][]cell, len(ways))}
	turn := budget / time.Duration(rounds*len(ways)*len(demoSizes))
	for i := range ways {
		r.cells[i] = make([]cell, len(demoSizes))
	}
	for s, size := range demoSizes {
		payload := make([]byte, size.bytes)
		for i := range payload {
			payload[i] = byte(i * 7)
		}
		for round := range rounds {
			for i, w := range ways {
				say(fmt.Sprintf("measuring %s, %s, %d of %d", w.name, size.text, round+1, rounds))
				var err error
				if r.cells[i][s], err = measure(ctx, w, payload, turn, r.cells[i][s]); err != nil {
					return nil, fmt.Errorf("%s, %s: %w", w.name, size.text, err)
				}
			}
		}
	}
	return r, nil
}

// tick is the least that the clock goes on by: tens of nanoseconds, or half a millisecond on some systems, which is many calls.
var tick = func() time.Duration {
	least := time.Second
	for range 5 {
		began, took := time.Now(), time.Duration(0)
		for took == 0 {
			took = time.Since(began)
		}
		least = min(least, took)
	}
	return least
}()

// enough is how long what is timed must take.
func enough() time.Duration {
	if tick < time.Microsecond {
		return 0
	}
	return 20 * tick
}

// measure appends to c how long each round trip took, for the length of a turn; where the clock is too coarse for one, what each of several took in the
// mean. The first ones do not count.
func measure(ctx context.Context, w way, payload []byte, turn time.Duration, c cell) (cell, error) {
	const warm = 3
	end := time.Now().Add(turn)
	for i := 0; ; i++ {
		began := time.Now()
		if i > warm && began.After(end) {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var out []byte
		var took time.Duration
		n := 0
		for ; n == 0 || i >= warm && took < enough(); n++ {
			var err error
			if out, err = w.echo(ctx, payload); err != nil {
				return nil, err
			}
			took = time.Since(began)
		}
		if i < warm {
			if !bytes.Equal(out, payload) {
				return nil, fmt.Errorf("%d other bytes came back", len(out))
			}
			continue
		}
		c = append(c, took/time.Duration(n))
	}
}

func (r *results) print(w io.Writer) error {
	var b strings.Builder
	b.WriteString("\nRound trips between the two processes, one at a time, in microseconds:\n\n")
	fmt.Fprintf(&b, "%-18s", "")
	for _, s := range demoSizes {
		fmt.Fprintf(&b, "%18s", s.text)
	}
	fmt.Fprintf(&b, "\n%-18s", "")
	for range demoSizes {
		fmt.Fprintf(&b, "%9s%9s", "p50", "p99")
	}
	b.WriteByte('\n')
	for i, way := range r.ways {
		fmt.Fprintf(&b, "%-18s", way.name)
		for _, c := range r.cells[i] {
			fmt.Fprintf(&b, "%9s%9s", micros(c.quantile(0.5)), micros(c.quantile(0.99)))
		}
		b.WriteByte('\n')
	}
	if enough() > 0 {
		fmt.Fprintf(&b, "\nThe clock of this system goes on by %v at a time: each time above is the mean of several.\n", tick)
	}
	call := r.cells[0][0].quantile(0.5)
	fmt.Fprintf(&b, "\nA call of 64 B took %.1f times as long as the %s's round trip, and HTTP %.1f times as long as a call.\n",
		ratio(call, r.cells[1][0].quantile(0.5)), r.ways[1].name, ratio(r.cells[len(r.cells)-1][0].quantile(0.5), call))
	_, err := io.WriteString(w, b.String())
	return err
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }

func micros(d time.Duration) string {
	us := float64(d) / 1e3
	if us >= 1000 {
		return fmt.Sprintf("%.0f", us)
	}
	return fmt.Sprintf("%.1f", us)
}
