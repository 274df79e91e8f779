package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// recorder takes what the taps see, in order, and writes and shows it, in a goroutine of its own. When that is slow, so are the
// connections: nothing is left out.
type recorder struct {
	began    time.Time
	records  chan *record
	stop     chan struct{} // closed: no more comes
	over     chan struct{} // closed: all is written
	file     *bufio.Writer // nil: none
	failed   error         // of writing the file
	errs     io.Writer
	viewer   *viewer
	noteRing sync.Once
	written  atomic.Int64 // records
}

// viewer decodes records, and shows what they are.
type viewer struct {
	values   bool
	printer  *printer
	summary  *summary
	sessions map[int64]*session
	seen     func(*event) // may be nil
}

func newViewer(values bool, p *printer) *viewer {
	return &viewer{values: values, printer: p, summary: newSummary(), sessions: map[int64]*session{}}
}

// take shows a record.
func (v *viewer) take(rec *record) {
	if rec.Trace != 0 {
		return
	}
	v.summary.record(rec)
	s := v.sessions[rec.Conn]
	if s == nil {
		s = newSession(rec.Conn, v.values, v.event)
		v.sessions[rec.Conn] = s
	}
	s.take(rec)
	if s.done {
		s.release()
		delete(v.sessions, rec.Conn)
	}
}

func (v *viewer) event(e *event) {
	v.summary.event(e)
	v.printer.print(e)
	if v.seen != nil {
		v.seen(e)
	}
}

// newRecorder begins a trace. file may be nil.
func newRecorder(target string, file io.Writer, v *viewer, errs io.Writer) *recorder {
	r := &recorder{
		began: time.Now(), records: make(chan *record, 256), stop: make(chan struct{}), over: make(chan struct{}),
		errs: errs, viewer: v,
	}
	if file != nil {
		r.file = bufio.NewWriterSize(file, 256<<10)
	}
	v.seen = func(e *event) {
		if e.What == "ring" {
			r.noteRing.Do(func() {
				fmt.Fprintln(errs, "note: calls leave the connection for shared memory, where a trace does not see them; trace --no-share keeps them in sight")
			})
		}
	}
	go r.run()
	r.put(&record{Trace: 1, Began: r.began, Target: target})
	return r
}

// put takes a record, unless the trace is over.
func (r *recorder) put(rec *record) {
	rec.At = int64(time.Since(r.began))
	select {
	case r.records <- rec:
	case <-r.stop:
		closeAll(rec.taken)
	}
}

func (r *recorder) run() {
	defer close(r.over)
	for {
		select {
		case rec := <-r.records:
			r.write(rec)
		case <-r.stop:
			for {
				select {
				case rec := <-r.records:
					r.write(rec)
				default:
					r.finish()
					return
				}
			}
		}
	}
}

func (r *recorder) write(rec *record) {
	if s := r.viewer.sessions[rec.Conn]; s != nil && rec.What == recClose {
		for _, way := range []string{toServer, toClient} {
			if n := s.ways[way].beside(); n > 0 {
				r.one(&record{At: rec.At, Conn: rec.Conn, What: recBeside, Way: way, Size: n})
			}
		}
	}
	r.one(rec)
	r.written.Add(1)
}

func (r *recorder) one(rec *record) {
	if r.file != nil && r.failed == nil {
		line, err := json.Marshal(rec)
		if err == nil {
			r.file.Write(append(line, '\n')) // its error stays, for Flush
		}
		if err == nil && len(r.records) == 0 {
			err = r.file.Flush()
		}
		if err != nil {
			r.failed = fmt.Errorf("the trace's file ends early: %w", err)
			fmt.Fprintln(r.errs, "standpipe:", r.failed)
		}
	}
	r.viewer.take(rec)
}

func (r *recorder) finish() {
	for _, s := range r.viewer.sessions {
		s.release()
	}
	if r.file != nil && r.failed == nil {
		r.failed = r.file.Flush()
	}
}

// end ends the trace, and returns what went wrong with it. Where nobody takes what is shown it does not wait for ever.
func (r *recorder) end() error {
	close(r.stop)
	for over, written := false, int64(-1); !over; {
		select {
		case <-r.over:
			over = true
		case <-time.After(recorderGrace):
			before := written
			if written = r.written.Load(); written == before {
				return errStuck
			}
		}
	}
	if r.failed != nil {
		return r.failed
	}
	return r.viewer.printer.err
}

// recorderGrace is how long one record may take at the end.
const recorderGrace = 3 * time.Second

var errStuck = errors.New("nobody takes what the trace shows: its end is missing")

// connTap is the tap of one connection.
type connTap struct {
	r    *recorder
	n    int64
	ways atomic.Int32 // that have ended
}

func (r *recorder) tap(n int64, a, b *side, why string) tap {
	r.put(&record{Conn: n, What: recOpen, Client: identityText(a), Server: identityText(b), Text: why})
	return &connTap{r: r, n: n}
}

func (t *connTap) passes(server bool, b []byte) {
	t.r.put(&record{Conn: t.n, What: recBytes, Way: wayOf(server), Bytes: slices.Clone(b)})
}

func (t *connTap) files(server bool, files []*os.File) {
	t.r.put(&record{Conn: t.n, What: recFiles, Way: wayOf(server), Files: len(files), taken: files})
}

func (t *connTap) ends(server bool, how string) {
	t.r.put(&record{Conn: t.n, What: recEnd, Way: wayOf(server), Text: how})
	if t.ways.Add(1) == 2 {
		t.r.put(&record{Conn: t.n, What: recClose})
	}
}

// identityText is who is at a side, and what it runs.
func identityText(s *side) string {
	if s.local == nil {
		return s.who
	}
	text := s.who
	if program, err := s.local.Program(); err == nil { // for people: where it can't be seen it is left out
		text += ", " + program
	}
	return text
}
