package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		numbers []float64
		want    float64
	}{
		{nil, 0},
		{[]float64{3}, 3},
		{[]float64{4, 2}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{1, 100, 2, 3}, 2.5},
	} {
		before := append([]float64(nil), c.numbers...)
		if got := median(c.numbers); got != c.want {
			t.Errorf("%v: %v, not %v", c.numbers, got, c.want)
		}
		for i := range before {
			if c.numbers[i] != before[i] {
				t.Errorf("the numbers were sorted in place: %v", c.numbers)
			}
		}
	}
}

func TestPercentiles(t *testing.T) {
	if p50, p99 := percentiles(nil); p50 != 0 || p99 != 0 {
		t.Errorf("of nothing: %v, %v", p50, p99)
	}
	var times []time.Duration
	for i := 1000; i > 0; i-- {
		times = append(times, time.Duration(i)*time.Microsecond)
	}
	if p50, p99 := percentiles(times); p50 != 501 || p99 != 991 {
		t.Errorf("%v, %v", p50, p99)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int]string{64: "64 B", 1000: "1000 B", 1024: "1 KiB", 4096: "4 KiB", 1<<10 + 1: "1025 B", 64 << 10: "64 KiB", 1 << 20: "1 MiB",
		1<<20 + 1<<10: "1025 KiB", 64 << 20: "64 MiB", 300e6: "300 MB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %q, not %q", n, got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 0.0012: "0.001", 0.5: "0.50", 9.994: "9.99", 9.996: "10.0", 12.34: "12.3", 99.96: "100", 1234.5: "1234", -2.5: "-2.50"} {
		if got := number(v); got != want {
			t.Errorf("%v: %q, not %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 999.6: "1,000", 123456: "123,456", 1234567: "1,234,567"} {
		if got := thousands(v); got != want {
			t.Errorf("%v: %q, not %q", v, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	tab := &table{title: "Calls", text: "In µs.", columns: []string{"contender", "over", "p50"}, left: 2}
	tab.row("unix", "unix", "1.00")
	tab.row("grpc-go", "unix", none)
	var out strings.Builder
	tab.markdown(&out)
	const want = `
## Calls

In µs.

| contender | over | p50 |
|---|---|--:|
| unix | unix | 1.00 |
| grpc-go | unix | – |
`
	if out.String() != want {
		t.Errorf("%s", out.String())
	}
}

// rounds makes results of the latencies of rounds; 0 is a round that failed.
func rounds(p50s ...float64) (all []*result) {
	for _, v := range p50s {
		var r *result
		if v > 0 {
			r = &result{Latency: map[string]*latency{"64 B": {P50: v, cost: cost{CPU: 2 * v}}}}
		}
		all = append(all, r)
	}
	return all
}

func TestMedians(t *testing.T) {
	m := medians(rounds(10, 0, 30, 20))
	if l := m.Latency["64 B"]; l.P50 != 20 || l.CPU != 40 {
		t.Errorf("%+v", l)
	}
	if m.Paced != nil || m.Concurrent != nil || m.Loaded != nil || m.Carry != nil || m.Idle != nil || m.Quiet != nil || len(m.Bulk) > 0 {
		t.Errorf("more than what there was: %+v", m)
	}
}

// A ratio is taken within each round, so that a round in which the whole machine was slow does no harm.
func TestRatio(t *testing.T) {
	r := newReport(settings{})
	for name, all := range map[string][]*result{floor: rounds(10, 100, 0, 10), "peer": rounds(20, 200, 500, 40), "late": rounds(0, 0, 50)} {
		for i, res := range all {
			if res != nil {
				r.add(name, i, res)
			}
		}
	}
	if got := r.ratio("peer", p50(64)); got != "2.00" {
		t.Errorf("peer: %s", got)
	}
	for _, name := range []string{"late", "nobody"} {
		if got := r.ratio(name, p50(64)); got != none {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := r.ratio("peer", p50(4096)); got != none {
		t.Errorf("of a size that was not measured: %s", got)
	}
	if got := r.spread("peer", p50(64), number); got != "20.0 to 500" {
		t.Errorf("spread: %s", got)
	}
	if got := r.value("peer", p50(64), number); got != "120" {
		t.Errorf("value: %s", got)
	}
}

// The floor is the first row, then we, then the peers; and within each the better come first.
func TestOrdered(t *testing.T) {
	r := newReport(settings{run: []*contender{
		{name: "slow", group: peers}, {name: "none", group: peers}, {name: "quick", group: peers}, {name: "we", group: ours}, {name: floor, group: floors},
	}})
	for name, p50 := range map[string]float64{"slow": 90, "quick": 1, "we": 50, floor: 100} {
		r.add(name, 0, rounds(p50)[0])
	}
	order := func(sign float64) string {
		var names []string
		for _, c := range r.ordered(sign, p50(64)) {
			names = append(names, c.name)
		}
		return strings.Join(names, " ")
	}
	if got := order(1); got != "unix we quick slow" {
		t.Error(got)
	}
	if got := order(-1); got != "unix we slow quick" {
		t.Error(got)
	}
}

func TestForeign(t *testing.T) {
	r := newReport(settings{run: []*contender{{name: "a"}, {name: "b"}, {name: "c"}}})
	r.add("a", 0, &result{Concurrent: &concurrent{cost: cost{Foreign: 0.25}}})
	r.add("b", 0, &result{Bulk: map[string]*throughput{"1 MiB": {Foreign: 0.5}}})
	if most, name := r.foreign(); most != 0.5 || name != "b" {
		t.Errorf("%v, %s", most, name)
	}
}

func TestCheck(t *testing.T) {
	req := (&contender{}).request(64)
	mark(req, 7)
	good := append([]byte(nil), req...)
	if err := check(req, good, 7); err != nil {
		t.Error(err)
	}
	stale := append([]byte(nil), req...)
	mark(stale, 6)
	spoilt := append([]byte(nil), req...)
	spoilt[0]++
	for what, err := range map[string]error{"short": check(req, good[1:], 7), "stale": check(req, stale, 7), "spoilt": check(req, spoilt, 0)} {
		if err == nil {
			t.Errorf("a %s response passes", what)
		}
	}
}

// The messages of typed calls have exactly the sizes that the tables say.
func TestRecordPayload(t *testing.T) {
	for _, n := range []int{smallest, 64, 4 << 10, 64 << 10, 1 << 20} {
		b, err := rpc.MessagePack.Append(nil, newRecord(make([]byte, recordPayload(n))))
		if err != nil || len(b) != n {
			t.Errorf("%d: %d bytes, %v", n, len(b), err)
		}
	}
	for n := smallest; n < 400; n++ {
		b, err := rpc.MessagePack.Append(nil, newRecord(make([]byte, recordPayload(n))))
		if err != nil || len(b) > n || len(b) < n-1 {
			t.Errorf("%d: %d bytes, %v", n, len(b), err)
		}
	}
}

func TestPinning(t *testing.T) {
	for _, c := range []struct {
		pin            pinning
		all            []int
		server, client int // -1: any
	}{
		{pinNone, []int{2, 5, 7}, -1, -1},
		{pinSame, []int{2, 5, 7}, 2, 2},
		{pinSplit, []int{2, 5, 7}, 2, 5},
		{pinSplit, []int{2}, -1, -1},
		{pinSame, nil, -1, -1},
	} {
		is := func(cpus []int, want int) bool {
			return want < 0 && cpus == nil || len(cpus) == 1 && cpus[0] == want
		}
		if server, client := c.pin.cpus(c.all); !is(server, c.server) || !is(client, c.client) {
			t.Errorf("%s of %v: %v and %v", c.pin, c.all, server, client)
		}
	}
}

// Where nothing can be measured, it is said by the error that tests skip on.
func TestSupported(t *testing.T) {
	if err := supported(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
