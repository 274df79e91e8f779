package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// summary counts what was seen, by method.
type summary struct {
	methods map[string]*methodCount
	conns   int64
	bytes   map[string]uint64 // by way
	beside  map[string]uint64 // that went through rings
	ring    bool
}

// methodCount is what is known of a method's calls.
type methodCount struct {
	calls, open int
	codes       map[string]int
	sent, got   uint64 // bytes of values and buffers, by callers and by who was called
	took        []time.Duration
	timed       int // of all that took may be a sample of
}

// mostTimed is how many times of a method are kept; of more, a sample.
const mostTimed = 100_000

func newSummary() *summary {
	return &summary{methods: map[string]*methodCount{}, bytes: map[string]uint64{}, beside: map[string]uint64{}}
}

// record counts what passed.
func (s *summary) record(rec *record) {
	switch rec.What {
	case recOpen:
		s.conns++
	case recBytes:
		s.bytes[rec.Way] += uint64(len(rec.Bytes))
	case recBeside:
		s.beside[rec.Way] += rec.Size
	}
}

// event counts what was decoded.
func (s *summary) event(e *event) {
	if e.What == "ring" {
		s.ring = true
	}
	if e.Method == "" {
		return
	}
	m := s.methods[e.Method]
	if m == nil {
		m = &methodCount{codes: map[string]int{}}
		s.methods[e.Method] = m
	}
	opener := wayOf(e.Stream%2 == 1)
	switch e.What {
	case "call", "stream":
		m.calls++
		m.open++
	case "answer":
		m.open--
		m.codes[e.Code]++
		m.time(time.Duration(e.Took))
	case "data":
	default:
		return
	}
	if e.Way == opener {
		m.sent += e.Size + e.Bulk
	} else {
		m.got += e.Size + e.Bulk
	}
}

func (m *methodCount) time(d time.Duration) {
	m.timed++
	if len(m.took) < mostTimed {
		m.took = append(m.took, d)
	} else if at := rand.IntN(m.timed); at < mostTimed {
		m.took[at] = d
	}
}

// print prints a table: a line for each method, and what was not seen.
func (s *summary) print(w io.Writer) error {
	plural := "s"
	if s.conns == 1 {
		plural = ""
	}
	fmt.Fprintf(w, "%d connection%s, %s to the server, %s back", s.conns, plural, byteText(s.bytes[toServer]), byteText(s.bytes[toClient]))
	if s.ring {
		fmt.Fprintf(w, "; beside them, through rings in shared memory and not seen: %s and %s", byteText(s.beside[toServer]), byteText(s.beside[toClient]))
	}
	fmt.Fprintln(w)
	if len(s.methods) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "calls\tOK\tfailed\topen\tp50\tp99\tmost\tsent\tgot\t  method\n")
	for _, name := range sortedKeys(s.methods) {
		m := s.methods[name]
		failed := 0
		var codes []string
		for _, code := range sortedKeys(m.codes) {
			if code != "OK" {
				failed += m.codes[code]
				codes = append(codes, fmt.Sprintf("%s %d", code, m.codes[code]))
			}
		}
		text := plain(name)
		if failed > 0 {
			text += ": " + strings.Join(codes, ", ")
		}
		slices.Sort(m.took)
		times := "-\t-\t-"
		if n := len(m.took); n > 0 {
			times = fmt.Sprintf("%v\t%v\t%v", took(int64(m.took[n/2])), took(int64(m.took[min(n-1, n*99/100)])), took(int64(m.took[n-1])))
		}
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%s\t%s\t%s\t  %s\n", m.calls, m.codes["OK"], failed, m.open, times, byteText(m.sent), byteText(m.got), text)
	}
	return table.Flush()
}
