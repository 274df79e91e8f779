package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// benchTimes are 1, 2, 3 ... n microseconds, in no order.
func benchTimes(n int) (times []time.Duration) {
	for i := range n {
		times = append(times, time.Duration(n-i)*time.Microsecond)
	}
	return times
}

func TestBenchQuantiles(t *testing.T) {
	trip := newBenchTrip(benchTimes(1000), 5*time.Millisecond, 2000)
	if trip.Count != 2000 || trip.P50 != 501 || trip.P90 != 901 || trip.P99 != 991 || trip.P999 != 1000 || trip.CPU != 2.5 {
		t.Errorf("%+v", trip)
	}
	// The curve begins with the shortest, ends with the last of which one was longer, and never falls.
	if len(trip.Curve) != 13 || trip.Curve[0] != 1 || trip.Curve[12] != 1000 || !slices.IsSorted(trip.Curve) {
		t.Errorf("the curve is %v", trip.Curve)
	}
	// What too few messages can't tell is not told.
	for n, want := range map[int][3]bool{999: {true, true, false}, 100: {true, true, false}, 99: {true, false, false}, 9: {false, false, false}, 1: {}} {
		trip := newBenchTrip(benchTimes(n), 0, n)
		if got := [3]bool{trip.P90 > 0, trip.P99 > 0, trip.P999 > 0}; got != want || trip.P50 == 0 {
			t.Errorf("of %d: %+v", n, trip)
		}
	}
}

func TestBenchMedian(t *testing.T) {
	list := []float64{9, 1, 5}
	if benchMedian(list) != 5 || list[0] != 9 || benchMedian([]float64{4, 1, 2, 100}) != 3 || benchMedian(nil) != 0 {
		t.Error(benchMedian(list), list, benchMedian([]float64{4, 1, 2, 100}), benchMedian(nil))
	}
}

func TestBenchMerge(t *testing.T) {
	c := &benchCell{Size: 100,
		trips: []benchTrip{
			{Count: 10, P50: 2, P90: 8, P99: 20, CPU: 1, Curve: []float64{1, 2, 3}},
			{Count: 30, P50: 4, P90: 6, CPU: 2, Curve: []float64{3, 4}},
			{Count: 60, P50: 3, P90: 7, P99: 30, CPU: 3, Curve: []float64{2, 3, 9}},
		},
		flows: []benchFlow{{Count: 1, Rate: 10, CPU: 4}, {Count: 3, Rate: 30, CPU: 8}, {Count: 0, Rate: 20}}}
	c.merge()
	if c.Trip.Count != 100 || c.Trip.P50 != 3 || c.Trip.P90 != 7 || c.Trip.P99 != 0 || math.Abs(c.Trip.CPU-2.5) > 1e-9 || c.Spread != 2 {
		t.Errorf("%+v, spread %v", c.Trip, c.Spread)
	}
	if !slices.Equal(c.Trip.Curve, []float64{2, 3}) {
		t.Errorf("the curve is %v", c.Trip.Curve)
	}
	if c.Flow.Count != 4 || c.Flow.Rate != 20 || c.Flow.Bytes != 2000 || c.Flow.CPU != 7 {
		t.Errorf("%+v", c.Flow)
	}
}

func TestBenchSizes(t *testing.T) {
	got, err := parseBenchSizes("1M, 64,4KiB,4096 b,1.5k,1GiB")
	if err != nil || !slices.Equal(got, []int{64, 1536, 4096, 1 << 20, 1 << 30}) {
		t.Error(got, err)
	}
	for _, wrong := range []string{"", "0", "-1", "x", "2G", "1.5", "64,,4K", "NaN", "1e99", "0x10", "KiB"} {
		if got, err := parseBenchSizes(wrong); err == nil && wrong != "0x10" {
			t.Errorf("%q: %v", wrong, got)
		}
	}
	for _, sizes := range []string{benchSizesAll, benchSizesQuick} {
		if _, err := parseBenchSizes(sizes); err != nil {
			t.Error(err)
		}
	}
}

func TestBenchTexts(t *testing.T) {
	for _, test := range [][2]string{
		{benchTime(0), "-"}, {benchTime(0.25), "250 ns"}, {benchTime(2.345), "2.35 µs"}, {benchTime(99.96), "100 µs"}, {benchTime(999.6), "1.00 ms"},
		{benchTime(45.61e3), "45.6 ms"}, {benchTime(2e6), "2.00 s"},
		{benchBytesRate(0), "-"}, {benchBytesRate(1536), "1.50 KiB/s"}, {benchBytesRate(123.4 * (1 << 20)), "123 MiB/s"}, {benchBytesRate(7 << 30), "7.00 GiB/s"},
		{benchCount(0), "-"}, {benchCount(4.5), "4.50"}, {benchCount(12345), "12.3k"}, {benchCount(1.5e6), "1.50M"},
		{benchSize(64), "64 B"}, {benchSize(1536), "1.5 KiB"}, {benchSize(256 << 20), "256 MiB"},
		{benchRound("100 µs"), "100 µs"}, {benchRound("1.00 ms"), "1 ms"}, {benchRound("1.50 KiB/s"), "1.5 KiB/s"}, {benchRound("10"), "10"},
		{benchBar(0.5, "half"), "[############------------]  50% half"}, {benchBar(1, "all"), "[########################] 100% all"},
		{benchCut("µsec", 2), "µs"}, {benchCut("s", 2), "s"},
		{benchLeft{Way: "udp", Size: 64, Why: "lost"}.String(), "udp, 64 B: lost"}, {benchLeft{Way: "redis", Why: "gone"}.String(), "redis: gone"},
	} {
		if test[0] != test[1] {
			t.Errorf("%q is to be %q", test[0], test[1])
		}
	}
}

// benchSample is a report of all ways, whose numbers are made up: a fixed cost for each message, and one for each byte.
func benchSample() *benchReport {
	r := &benchReport{Time: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC), Machine: benchMachine{"linux", "amd64", 4, "A <fine> processor", "go1.26"}, Rounds: 3,
		Sizes: []int{64, 1 << 10, 4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20},
		Notes: []string{"The machine was <busy> & slow."}, Left: []benchLeft{{"udp", 64 << 10, `it is "gone"`}}}
	costs := []struct{ message, bytes float64 }{{2, 1e-3}, {10, 1e-4}, {9, 5e-4}, {12, 6e-4}, {13, 7e-4}, {90, 1.5e-3}, {110, 4e-3}, {40, 3e-3}}
	for i, w := range benchWays() {
		r.Ways = append(r.Ways, benchLabel{w.name, w.label, w.note, w.calls, w.own})
		for _, size := range r.Sizes {
			if w.most > 0 && size > w.most {
				continue
			}
			us := costs[i].message + costs[i].bytes*float64(size)
			c := &benchCell{Way: w.name, Size: size, Spread: 1.1, Trip: benchTrip{Count: 4000, P50: us, P90: 1.2 * us, P99: 3 * us, P999: 9 * us, CPU: us},
				Flow: benchFlow{Count: 5000, Rate: 3e6 / us, Bytes: 3e6 / us * float64(size), CPU: us / 2}}
			for k := range 14 {
				c.Trip.Curve = append(c.Trip.Curve, us*math.Pow(1.2, float64(k)))
			}
			r.Cells = append(r.Cells, c)
		}
	}
	r.sort()
	r.Advice = r.advise()
	return r
}

func TestBenchAdvice(t *testing.T) {
	r := benchSample()
	for i, want := range map[int]string{
		0: "For your 64 B messages: standpipe call. A round trip takes 2.06 µs (p99 6.19 µs); HTTP/1.1 43.7 times, gRPC 53.4 times, Redis 19.5 times as long. " +
			"One way it moves 88.7 MiB/s (1.45M messages/s).",
		4: "For your 1 MiB messages: standpipe Buffer. A round trip takes 115 µs (p99 345 µs); HTTP/1.1 14.5 times, gRPC 37.5 times, Redis 27.7 times as long. " +
			"One way it moves 25.5 GiB/s.",
	} {
		if got := r.Advice[i].Text; got != want {
			t.Errorf("it says\n%s\nnot\n%s", got, want)
		}
	}
	// Where bytes are quicker, that is said, and so is what calls take.
	for _, c := range r.of(64) {
		if r.way(c.Way).own {
			c.Trip.P50 = 30
		}
	}
	text := r.adviseOn(64, r.of(64))
	if !strings.Contains(text, ": "+bareText+". A round trip takes 9.03 µs (p99 27.1 µs); but it carries bytes only. With calls: standpipe call, 30.0 µs (p99 6.19 µs); HTTP/1.1 3.00 times") {
		t.Error(text)
	}
	// Where a difference is none, it is ours.
	r.cell("call", 64).Trip.P50 = 9.5
	if text := r.adviseOn(64, r.of(64)); !strings.Contains(text, "standpipe call. A round trip takes 9.50") {
		t.Error(text)
	}
	// What is best one way is said where it is another.
	r.cell("tcp", 64).Flow = benchFlow{Rate: 9e6, Bytes: 9e6 * 64}
	if text := r.adviseOn(64, r.of(64)); !strings.HasSuffix(text, "; TCP on loopback is best at that: 549 MiB/s (9.00M messages/s).") {
		t.Error(text)
	}
	// Alone it is compared with nobody.
	if text := r.adviseOn(64, r.of(64)[:1]); !strings.Contains(text, "(p99 6.19 µs). One way") {
		t.Error(text)
	}
}

func TestBenchPage(t *testing.T) {
	page := benchSample().page()
	for _, part := range []string{"A &lt;fine&gt; processor", "&lt;busy&gt; &amp; slow", "it is &#34;gone&#34;", "prefers-color-scheme: dark", "default-src 'none'",
		"<strong>For your 4 KiB messages:</strong> standpipe call.", "2026-01-02 03:04"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	for _, part := range []string{"http://", "https://", "<script", "src=", "url(", "@import", "NaN", "Inf", "%!"} {
		if strings.Contains(page, part) {
			t.Errorf("the page has %q", part)
		}
	}
	if at := strings.Index(page, "What to take"); at < strings.LastIndex(page, "<table>") {
		t.Error("the page does not end with what to take")
	}
	plots := strings.Split(page, `<svg class="plot"`)[1:]
	if len(plots) != 3+7 {
		t.Fatalf("%d plots", len(plots))
	}
	for i, plot := range plots {
		text, _, _ := strings.Cut(plot, "</svg>")
		text = `<svg class="plot"` + text + "</svg>"
		d := xml.NewDecoder(strings.NewReader(text))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("plot %d: %v\n%s", i, err, text)
			}
		}
		if lines := strings.Count(text, `class="line"`); lines < 7 {
			t.Errorf("plot %d has %d lines", i, lines)
		}
	}
}

func TestBenchPlot(t *testing.T) {
	if (benchPlot{}).svg() != "" {
		t.Error("of nothing")
	}
	s := newBenchScale(1, 1000, 0, 300)
	if a, b, c := s.at(1), s.at(30), s.at(1000); !(0 < a && a < b && b < c && c < 300) || math.Abs(a-(300-c)) > 1e-6 {
		t.Error(a, b, c)
	}
	if got := benchTicks10(newBenchScale(3, 4000, 0, 1)); !slices.Equal(got, []float64{10, 100, 1000}) {
		t.Error(got)
	}
	if got := benchTicks10(newBenchScale(15, 60, 0, 1)); !slices.Equal(got, []float64{20, 50}) {
		t.Error(got)
	}
	if got := benchTicks10(newBenchScale(5, 5, 0, 1)); !slices.Equal(got, []float64{5}) {
		t.Error(got)
	}
}

func TestBenchPrints(t *testing.T) {
	r := benchSample()
	var csv, text, js strings.Builder
	if err := errors.Join(r.printCSV(&csv), r.printJSON(&js)); err != nil {
		t.Fatal(err)
	}
	r.printTable(&text)
	if lines := strings.Split(csv.String(), "\n"); len(lines) != 1+len(r.Cells)+1 || lines[1] != "call,64,4000,2.064,2.477,6.192,18.576,2.064,5000,1453488.372,93023255.814,1.032" {
		t.Error(csv.String())
	}
	for _, part := range []string{"\n4 KiB  ", "\nNote: The machine was", "\nLeft out: udp, 64 KiB: it is", "\nFor your 256 MiB messages: "} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("the table lacks %q:\n%s", part, &text)
		}
	}
	var back benchReport
	if err := json.Unmarshal([]byte(js.String()), &back); err != nil || len(back.Cells) != len(r.Cells) || back.Cells[0].Trip.P99 != r.Cells[0].Trip.P99 {
		t.Errorf("%v\n%s", err, &js)
	}
}

func TestBenchNotes(t *testing.T) {
	m := &benchMeter{r: &benchReport{Machine: benchMachine{CPUs: 4}, Ways: []benchLabel{{Name: "x", Label: "X"}}}}
	m.noteBusy(true, 300*time.Millisecond, time.Second) // less than a tenth of four
	m.noteBusy(false, time.Hour, time.Second)
	m.r.Cells = []*benchCell{{Way: "x", Size: 64, Spread: 1.4}}
	m.noteUnsteady()
	quiet := len(m.r.Notes)
	m.noteBusy(true, 2*time.Second, time.Second)
	for range 6 {
		m.r.Cells = append(m.r.Cells, &benchCell{Way: "x", Size: 1024, Spread: 2})
	}
	m.noteUnsteady()
	notes := strings.Join(m.r.Notes[quiet:], "\n")
	if !strings.Contains(notes, "used 2.0 of its 4 CPUs") || !strings.Contains(notes, "X at 1 KiB (2.0 times)") || !strings.Contains(notes, "2 more") {
		t.Error(notes)
	}
	if enough() == 0 && quiet > 0 {
		t.Error(m.r.Notes)
	}
}

// fakeBench is a client in this process.
type fakeBench struct {
	back  func(msg []byte) []byte
	sleep time.Duration
	sent  int
}

func (f *fakeBench) echo(ctx context.Context, msg []byte) ([]byte, error) {
	if f.back == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(f.sleep)
	return f.back(msg), nil
}

func (f *fakeBench) send(_ context.Context, _ []byte, n int) error {
	f.sent += n
	time.Sleep(time.Duration(n) * time.Microsecond)
	return nil
}

func (f *fakeBench) close() error { return nil }

func same(msg []byte) []byte { return slices.Clone(msg) }

func fakeWay(name string, f *fakeBench, err error) *benchWay {
	return &benchWay{name: name, label: name, dial: func(context.Context, string) (benchClient, error) { return f, err }}
}

// A way that is not there, and one that fails, are said, and the others are measured.
func TestBenchLeftOut(t *testing.T) {
	short := func(msg []byte) []byte { return msg[:min(len(msg), 64)] }
	small := fakeWay("small", &fakeBench{back: same}, nil)
	small.most = 100
	plan := benchPlan{sizes: []int{64, 4096}, rounds: 2, duration: 50 * time.Millisecond, ways: []*benchWay{
		fakeWay("good", &fakeBench{back: same, sleep: 100 * time.Microsecond}, nil), fakeWay("gone", nil, errors.New("nobody there")),
		fakeWay("short", &fakeBench{back: short}, nil), small}}
	var said []string
	r, err := measureBench(t.Context(), plan, func(_ float64, what string) { said = append(said, what) })
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Left) != 2 || r.Left[0].String() != "gone: nobody there" || r.Left[1].String() != "short, 4 KiB: round trips: 64 bytes answer 4096" {
		t.Errorf("left out: %v", r.Left)
	}
	var cells []string
	for _, c := range r.Cells {
		cells = append(cells, c.Way+" "+benchSize(c.Size))
	}
	if got := strings.Join(cells, ", "); got != "good 64 B, short 64 B, small 64 B, good 4 KiB" {
		t.Error(got)
	}
	if c := r.cell("good", 64); c.Trip.P50 < 100 || c.Flow.Rate < 100 || c.Flow.Rate > 1e6 {
		t.Errorf("%+v", c)
	}
	if !slices.Contains(said, "good, 4 KiB, round 2 of 2") {
		t.Error(said)
	}
	plan.ways = plan.ways[1:2]
	plan.ways[0] = fakeWay("gone", nil, errors.New("nobody there"))
	if _, err := measureBench(t.Context(), plan, func(float64, string) {}); err == nil || !strings.Contains(err.Error(), "nothing could be measured: gone: nobody there") {
		t.Error(err)
	}
}

// An interrupt ends it, whatever it waits for.
func TestBenchInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	plan := benchPlan{sizes: []int{64}, rounds: 1, duration: time.Hour, ways: []*benchWay{fakeWay("silent", &fakeBench{}, nil)}}
	if _, err := measureBench(ctx, plan, func(float64, string) {}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Answers are looked at; and where the clock is too coarse, several are timed together.
func TestBenchTrips(t *testing.T) {
	none := func() time.Duration { return 0 }
	other := func(msg []byte) []byte { b := same(msg); b[len(b)-1]++; return b }
	if _, err := benchTrips(t.Context(), &fakeBench{back: other}, make([]byte, 64), time.Millisecond, none); err == nil {
		t.Error("other bytes came back, and nobody saw it")
	}
	was := tick
	defer func() { tick = was }()
	tick = 500 * time.Microsecond
	trip, err := benchTrips(t.Context(), &fakeBench{back: same}, make([]byte, 1), 30*time.Millisecond, none)
	if err != nil || trip.Count < 100 || trip.P50 > 1000 || len(trip.Curve) > 5 {
		t.Errorf("%+v, %v", trip, err)
	}
	f := &fakeBench{}
	flow, err := benchFlows(t.Context(), f, make([]byte, 10), 20*time.Millisecond, none)
	if err != nil || flow.Count == 0 || flow.Count > f.sent || flow.Rate > 1e6 || flow.Bytes != 10*flow.Rate {
		t.Errorf("%+v of %d, %v", flow, f.sent, err)
	}
}

// UDP loses datagrams. Round trips and sendings are complete all the same.
func TestBenchUDPLoss(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	addr, over := make(chan string, 1), make(chan error, 1)
	go func() { over <- serveBenchUDP(ctx, "", func(a string) { addr <- a }) }()
	var server *net.UDPAddr
	select {
	case at := <-addr:
		server = net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at))
	case err := <-over:
		if mayNotUDP() {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	var lost atomic.Int64
	go benchLossy(front, server, &lost)
	c, err := dialBenchUDP(ctx, front.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	msg := []byte("a message of 26 characters")
	for range 5 {
		if back, err := c.echo(ctx, msg); err != nil || string(back) != string(msg) {
			t.Fatalf("%q, %v", back, err)
		}
	}
	if err := c.send(ctx, msg, 50); err != nil {
		t.Fatal(err)
	}
	if lost.Load() == 0 {
		t.Error("nothing was lost")
	}
	cancel()
	if err := <-over; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// benchLossy passes datagrams on, both ways, of one client; every seventh is lost.
func benchLossy(front *net.UDPConn, server *net.UDPAddr, lost *atomic.Int64) {
	buf := make([]byte, 64<<10)
	var client *net.UDPAddr
	for i := 1; ; i++ {
		n, from, err := front.ReadFromUDP(buf)
		if err != nil {
			return
		}
		to := server
		if from.Port == server.Port {
			to = client
		} else {
			client = from
		}
		if i%7 == 0 {
			lost.Add(1)
			continue
		}
		front.WriteToUDP(buf[:n], to)
	}
}

// A server that does not start says why.
func TestBenchHead(t *testing.T) {
	var h benchHead
	for _, text := range []string{"standpipe: listen", " udp: no\x1b\nhint: none\n", strings.Repeat("x", 1000)} {
		if n, err := io.WriteString(&h, text); n != len(text) || err != nil {
			t.Error(n, err)
		}
	}
	if h.line() != "listen udp: no\ufffd" || len(h.text) != 512 {
		t.Errorf("%q", h.text)
	}
}

func TestBenchRedisCPU(t *testing.T) {
	if got := benchRedisCPU("# CPU\r\nused_cpu_sys:1.500000\r\nused_cpu_user:2.250000\r\nused_cpu_sys_children:7\r\n"); got != 3750*time.Millisecond {
		t.Error(got)
	}
}

// What the process and the machine have used grows.
func TestBenchCPU(t *testing.T) {
	before := benchCPU()
	for began := time.Now(); benchCPU() == before; {
		if time.Since(began) > 20*time.Second {
			t.Fatal("no processor time was used")
		}
	}
	if busy, known := benchBusy(); known && busy <= 0 {
		t.Error(busy)
	}
	if benchMemory() < 0 {
		t.Error(benchMemory())
	}
}
