package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/pipetest"
	"github.com/standpipe/standpipe/rpc"
)

// traceHere traces a server in this process, runs fn against it, and returns the events and the file.
func traceHere(t *testing.T, s *rpc.Server, fn func(*rpc.Peer)) (events []event, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "trace")
	ready, stop := relayHere(t, "trace", "-q", "--no-share", "-w", file, "--as", pipetest.Name(t), serveHere(t, s))
	p, err := rpc.Dial(t.Context(), ready, nil)
	if err != nil {
		t.Fatal(err)
	}
	fn(p)
	p.Close()
	if code, errs := stop(); code != 0 {
		t.Fatal(code, errs)
	}
	code, out, errs := runHere(t, "", "trace", "--json", "--values", "--read", file)
	if code != 0 {
		t.Fatal(code, errs)
	}
	for line := range strings.Lines(out) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events, file
}

// find is the first event of that kind, method and way.
func find(t *testing.T, events []event, what, method, way string) event {
	t.Helper()
	for _, e := range events {
		if e.What == what && e.Method == method && e.Way == way {
			return e
		}
	}
	t.Fatalf("there is no %s of %q %s in %+v", what, method, way, events)
	return event{}
}

// All that calls can have is decoded: values, limits, metadata, errors with details, buffers, cancels, calls back.
func TestTraceCalls(t *testing.T) {
	s := rpc.NewServer(nil)
	rpc.Handle(s, "fail", func(ctx context.Context, _ any) (any, error) {
		err := rpc.Errorf(rpc.NotFound, "no \"such\" thing")
		var e *rpc.Error
		if errors.As(err, &e) {
			e.Details = []rpc.Detail{{Type: "kind", Value: []byte("x")}}
		}
		rpc.SetHeader(ctx, rpc.Metadata{"h": {"1"}})
		rpc.SetTrailer(ctx, rpc.Metadata{"t": {"2"}})
		return nil, err
	})
	began := make(chan struct{})
	rpc.Handle(s, "hang", func(ctx context.Context, _ any) (any, error) {
		close(began)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	rpc.Handle(s, "twice", func(ctx context.Context, in string) (string, error) {
		return rpc.Call[string](ctx, rpc.PeerFrom(ctx), "back", in+in)
	})
	rpc.Handle(s, "size", func(_ context.Context, in struct {
		Small msg.Buffer `json:"small"`
		Large msg.Buffer `json:"large"`
	}) (int, error) {
		return in.Small.Len() + in.Large.Len(), nil
	})
	events, _ := traceHere(t, s, func(p *rpc.Peer) {
		ctx, cancel := context.WithTimeout(rpc.WithMetadata(t.Context(), rpc.Metadata{"k": {"v", "w"}}), time.Minute)
		defer cancel()
		if _, err := rpc.Call[any](ctx, p, "fail", []any{1, "two"}); rpc.CodeOf(err) != rpc.NotFound {
			t.Error(err)
		}
		short, stop := context.WithCancel(t.Context())
		go func() { <-began; stop() }()
		if _, err := rpc.Call[any](short, p, "hang", 0); rpc.CodeOf(err) != rpc.Canceled {
			t.Error(err)
		}
		small, err := p.NewBuffer(ctx, 100)
		if err != nil {
			t.Fatal(err)
		}
		large, err := p.NewBuffer(ctx, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		got, err := rpc.Call[int](ctx, p, "size", map[string]msg.Buffer{"small": small, "large": large})
		if got != 100+1<<20 && err == nil {
			t.Errorf("%d, %v", got, err)
		}
		rpc.Call[string](ctx, p, "twice", "ab") // this side has no method: the call back fails
	})
	call := find(t, events, "call", "fail", toServer)
	if string(call.Value) != `[1,"two"]` || call.Limit < int64(50*time.Second) || !slices.Equal(call.Meta["k"], []string{"v", "w"}) || call.Codec != "msgpack" || call.Size != 6 {
		t.Errorf("%+v", call)
	}
	answer := find(t, events, "answer", "fail", toClient)
	if answer.Code != "NotFound" || answer.Text != `no "such" thing` || !slices.Equal(answer.Details, []string{"kind"}) || answer.Took <= 0 ||
		answer.Header["h"][0] != "1" || answer.Meta["t"][0] != "2" {
		t.Errorf("%+v", answer)
	}
	if e := find(t, events, "cancel", "hang", toServer); e.Code != "Canceled" {
		t.Errorf("%+v", e)
	}
	find(t, events, "answer", "hang", toClient)
	if e := find(t, events, "call", "back", toClient); string(e.Value) != `"abab"` || e.Stream%2 != 0 {
		t.Errorf("%+v", e)
	}
	if e := find(t, events, "answer", "back", toServer); e.Code != "Unimplemented" {
		t.Errorf("%+v", e)
	}
	if e := find(t, events, "piece", "", toServer); e.Size == 0 || !strings.Contains(e.Text, "1048576 bytes") {
		t.Errorf("%+v", e)
	}
	if e := find(t, events, "call", "size", toServer); e.Buffers != 2 || e.Bulk != 100+1<<20 {
		t.Errorf("%+v", e)
	}
	for _, e := range events {
		if e.What == "bytes" || e.What == "broken" {
			t.Errorf("%+v", e)
		}
	}
}

// The vectors of the wire, and noise: however the bytes are cut, the same is seen, and nothing panics.
func TestTraceStreamCuts(t *testing.T) {
	frame := func(length uint32, kind, flags byte, buffers uint16, rest ...byte) []byte {
		return append([]byte{byte(length), byte(length >> 8), byte(length >> 16), byte(length >> 24), kind, flags, byte(buffers), byte(buffers >> 8)}, rest...)
	}
	hello := []byte("standpipe 1\ncodecs: json\n\n")
	open := []byte{1, 0, 0, 0, callOpen, flagValue, 0, 1, 'm', '5'}
	inputs := [][]byte{
		slices.Concat(hello, frame(10, 1, 0, 0, open...), frame(0, 7, 0, 0), frame(10, 1, 0, 0, open...)),
		slices.Concat(hello, frame(10, 200, 0, 0, open...), frame(3, 2, 0, 0, 'w', 'h', 'y')),
		slices.Concat(hello, frame(16+10+2, 1, 0, 1, slices.Concat([]byte{2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, open, []byte("ab"))...), frame(0, 6, 0, 0)),
		slices.Concat(hello, frame(10, 1, 0, 65, open...)),
		slices.Concat(hello, frame(1<<31, 1, 0, 0, open...)),
		slices.Concat(hello, frame(0, 99, 0, 0), open),
		[]byte("standpipe 2\n\nanything"), []byte("GET / HTTP/1.1\r\n\r\n"), []byte("stand"), bytes.Repeat([]byte("standpipe 1\n"), 500),
	}
	for i, input := range inputs {
		want := seen(input, len(input))
		for step := 1; step < min(len(input), 64); step++ {
			if got := seen(input, step); got != want {
				t.Fatalf("input %d in pieces of %d:\n%s\nand whole:\n%s", i, step, got, want)
			}
		}
	}
	if got := seen(inputs[2], 3); !strings.Contains(got, "call 1 m (json 1 B, buffers: 1, 2 B)") || !strings.Contains(got, "ring:") {
		t.Error(got)
	}
}

// seen is what a session makes of a client's bytes that come in pieces.
func seen(input []byte, step int) string {
	var out strings.Builder
	var foreign []byte
	s := newSession(1, true, func(e *event) {
		if e.What == "bytes" {
			foreign = append(foreign, e.Bytes...)
			return
		}
		fmt.Fprintln(&out, e.line())
	})
	for piece := range slices.Chunk(input, step) {
		s.take(&record{What: recBytes, Way: toServer, Bytes: slices.Clone(piece)})
	}
	s.take(&record{What: recEnd, Way: toServer})
	s.take(&record{What: recClose})
	return fmt.Sprintf("%s%q", out.String(), foreign)
}

func FuzzTraceStream(f *testing.F) {
	f.Add([]byte("standpipe 1\ncodecs: json msgpack\n\n\x0a\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x01\x00\x01m5"), uint8(3))
	f.Fuzz(func(t *testing.T, input []byte, step uint8) {
		whole, cut := seen(input, max(len(input), 1)), seen(input, int(step)+1)
		if whole != cut {
			t.Errorf("in pieces of %d:\n%s\nand whole:\n%s", int(step)+1, cut, whole)
		}
	})
}

// What passes is what was sent, bit by bit, and a trace's file has it, for noise and for our wire.
func TestTraceFile(t *testing.T) {
	sent := make([]byte, 1<<20)
	noise := rand.NewChaCha8([32]byte{1})
	noise.Read(sent)
	var file bytes.Buffer
	rec := newRecorder("x", &file, newViewer(true, &printer{w: io.Discard}), io.Discard)
	p := &pair{tap: &connTap{r: rec, n: 7}}
	a, b, ended := pairHere(t, p)
	go func() {
		a.Write(sent)
		a.Close()
	}()
	got, err := io.ReadAll(b)
	if !bytes.Equal(got, sent) || err != nil {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	b.Close()
	if err := errors.Join(<-ended, rec.end()); err != nil {
		t.Fatal(err)
	}
	var kept []byte
	var whats []string
	err = readTrace(bytes.NewReader(file.Bytes()), func(rec *record) error {
		kept = append(kept, rec.Bytes...)
		if rec.What != recBytes {
			whats = append(whats, rec.What)
		}
		return nil
	})
	if !bytes.Equal(kept, sent) || err != nil || !slices.Equal(whats, []string{"", recEnd, recEnd, recClose}) {
		t.Errorf("the file has %d bytes, %v, %v", len(kept), err, whats)
	}
	// One that was cut off, as by a kill, ends there.
	n := 0
	if err := readTrace(bytes.NewReader(file.Bytes()[:file.Len()-10]), func(*record) error { n++; return nil }); err != nil || n < 5 {
		t.Errorf("%d records, %v", n, err)
	}
	// One that is broken in its midst says where.
	broken := bytes.Replace(file.Bytes(), []byte("\n{"), []byte("\n["), 2)
	if err := readTrace(bytes.NewReader(broken), func(*record) error { return nil }); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Error(err)
	}
}

// A file that can't be written is said, and what passes goes on.
func TestTraceFullDisk(t *testing.T) {
	var errs lockedText
	rec := newRecorder("x", fullDisk{}, newViewer(false, &printer{w: io.Discard}), &errs)
	p := &pair{tap: &connTap{r: rec, n: 1}}
	a, b, ended := pairHere(t, p)
	sent := pattern(1<<20, 3)
	go func() {
		a.Write(sent)
		a.Close()
	}()
	if got, err := io.ReadAll(b); !bytes.Equal(got, sent) || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	b.Close()
	<-ended
	if err := rec.end(); !errors.Is(err, errFull) || strings.Count(errs.String(), "ends early") != 1 {
		t.Errorf("%v, %s", err, errs.String())
	}
}

type fullDisk struct{}

var errFull = errors.New("the disk is full")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

// Nobody who reads what is shown holds up the end for ever.
func TestTraceStuckOutput(t *testing.T) {
	out, stuck := io.Pipe()
	defer out.Close()
	rec := newRecorder("x", nil, newViewer(false, &printer{w: stuck}), io.Discard)
	rec.put(&record{Conn: 1, What: recOpen})
	if err := rec.end(); err != errStuck {
		t.Error(err)
	}
}

// The file is for its user only.
func TestTraceFileMode(t *testing.T) {
	_, file := traceHere(t, rpc.NewServer(nil), func(p *rpc.Peer) {
		rpc.Call[any](t.Context(), p, "none", 0)
	})
	info, err := os.Stat(file)
	if err != nil || privateMode && info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

// Bytes that are not our wire are shown with their place in all that came that way.
func TestTraceDump(t *testing.T) {
	var out strings.Builder
	p := &printer{w: &out, bytes: 20}
	s := newSession(1, false, p.print)
	s.take(&record{What: recBytes, Way: toServer, Bytes: []byte("GET / HTTP/1.1\r\n")})
	s.take(&record{What: recBytes, Way: toServer, Bytes: []byte("Host: x\x1b[31m\r\nAccept: */*\r\n")})
	for _, want := range []string{"00000000  47 45 54 20", "00000010  48 6f 73 74", "00000020  63 65 70 74                                       |cept|", "and 7 bytes more", "|Host: x.[31m..Ac"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

// The times of a summary are a sample where there are many.
func TestTraceSummary(t *testing.T) {
	m := &methodCount{}
	for i := range mostTimed + 1000 {
		m.time(time.Duration(i))
	}
	if len(m.took) != mostTimed || m.timed != mostTimed+1000 {
		t.Errorf("%d of %d", len(m.took), m.timed)
	}
	for n, want := range map[uint64]string{0: "0 B", 10239: "10239 B", 10240: "10.0 KiB", 300 << 20: "300.0 MiB", 50 << 30: "50.0 GiB"} {
		if got := byteText(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
