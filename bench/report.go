package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// floor is the contender that ratios are of.
const floor = "unix"

// report is the outcome of all rounds; it is what -json writes.
type report struct {
	Time    time.Time
	Machine string
	Plan    plan
	Rounds  int
	Pin     pinning
	Copies  map[string]float64   `json:",omitempty"` // GiB/s, by the size of a copy
	Pinned  map[string][]*result `json:",omitempty"` // of the targets: by contender, and rounds with both processes on one CPU
	Notes   map[string]string    // by contender, as all that follows
	Missing map[string]string    `json:",omitempty"` // those that this machine can't run, and why
	Failed  map[string]string    `json:",omitempty"` // the last error
	Results map[string][]*result // of each round; null where it failed
	Median  map[string]*result

	run   []*contender
	asked bool // for the targets
}

func newReport(s settings) *report {
	return &report{
		Time: time.Now(), Machine: machine(), Plan: s.plan, Rounds: s.rounds, Pin: s.pin, run: s.run, asked: s.targets,
		Notes: map[string]string{}, Missing: map[string]string{}, Failed: map[string]string{},
		Results: map[string][]*result{}, Pinned: map[string][]*result{}, Median: map[string]*result{},
	}
}

// present returns those that this machine can run, and says loudly which it can't.
func (r *report) present(run []*contender, stderr io.Writer) (able []*contender) {
	for _, c := range run {
		if c.missing != nil {
			if err := c.missing(); err != nil {
				fmt.Fprintf(stderr, "bench: %s IS LEFT OUT: %v\n", c.name, err)
				r.Notes[c.name], r.Missing[c.name] = c.note, err.Error()
				continue
			}
		}
		r.Notes[c.name] = c.describe()
		able = append(able, c)
	}
	return able
}

// describe is the note with the versions.
func (c *contender) describe() string {
	var versions []string
	if c.version != nil {
		versions = append(versions, c.version())
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if slices.Contains(c.modules, m.Path) {
				versions = append(versions, m.Path+" "+m.Version)
			}
		}
	}
	if versions == nil {
		return c.note
	}
	return strings.Join(versions, ", ") + "; " + c.note
}

func (r *report) add(name string, round int, res *result) {
	r.Results[name] = place(r.Results[name], round, res)
	r.Median[name] = medians(r.Results[name])
}

func place(rounds []*result, round int, res *result) []*result {
	for len(rounds) <= round {
		rounds = append(rounds, nil)
	}
	rounds[round] = res
	return rounds
}

// A figure takes one number out of a result; false: it has none.
type figure func(*result) (float64, bool)

// compared are what how makes of the number f of a contender and g of another one, in each round of both.
func compared(of, base []*result, f, g figure, how func(v, base float64) float64) (all []float64) {
	for i, res := range of {
		if res == nil || i >= len(base) || base[i] == nil {
			continue
		}
		v, ok := f(res)
		if b, based := g(base[i]); ok && based && b > 0 {
			all = append(all, how(v, b))
		}
	}
	return all
}

func times(v, base float64) float64 { return v / base }

// values are the number f of all rounds that have it.
func values(of []*result, f figure) (all []float64) {
	for _, res := range of {
		if res != nil {
			if v, ok := f(res); ok {
				all = append(all, v)
			}
		}
	}
	return all
}

// ratio is how many times the floor's number the contender's is: the median of the rounds, each compared within itself.
func (r *report) ratio(name string, f figure) string {
	all := compared(r.Results[name], r.Results[floor], f, f, times)
	if len(all) == 0 {
		return none
	}
	return number(median(all))
}

// spread is the least and the most of all rounds.
func (r *report) spread(name string, f figure, write func(float64) string) string {
	return span(values(r.Results[name], f), write)
}

func span(all []float64, write func(float64) string) string {
	if len(all) == 0 {
		return none
	}
	return write(slices.Min(all)) + " to " + write(slices.Max(all))
}

// value is the median.
func (r *report) value(name string, f figure, write func(float64) string) string {
	if m := r.Median[name]; m != nil {
		if v, ok := f(m); ok {
			return write(v)
		}
	}
	return none
}

// ordered returns the contenders that have the figure, the floors first and ours next, the better first: sign is 1 where less is
// better, and -1 where more is.
func (r *report) ordered(sign float64, f figure) []*contender {
	var have []*contender
	values := map[*contender]float64{}
	for _, c := range r.run {
		if m := r.Median[c.name]; m != nil {
			if v, ok := f(m); ok {
				have, values[c] = append(have, c), sign*v
			}
		}
	}
	slices.SortStableFunc(have, func(a, b *contender) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(values[a], values[b]))
	})
	return have
}

// label is the name as the tables write it.
func (c *contender) label() string {
	switch c.group {
	case floors:
		return "*" + c.name + "*"
	case ours:
		return "**" + c.name + "**"
	}
	return c.name
}

// foreign is the most that other processes took away in any measure, in CPUs, and the contender that it hit.
func (r *report) foreign() (most float64, name string) {
	for _, c := range r.run {
		m := r.Median[c.name]
		if m == nil {
			continue
		}
		var all []float64
		for _, l := range m.Latency {
			all = append(all, l.Foreign)
		}
		if m.Paced != nil {
			all = append(all, m.Paced.Foreign)
		}
		if m.Concurrent != nil {
			all = append(all, m.Concurrent.Foreign)
		}
		for _, b := range m.Bulk {
			all = append(all, b.Foreign)
		}
		if len(all) > 0 && slices.Max(all) > most {
			most, name = slices.Max(all), c.name
		}
	}
	return most, name
}
