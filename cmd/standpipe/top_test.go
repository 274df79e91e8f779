package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/pipetest"
	"github.com/standpipe/standpipe/rpc"
)

// busyServer serves with somebody who calls it, fails, and does not read a stream.
func busyServer(t *testing.T) (name string) {
	t.Helper()
	name = pipetest.Name(t)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer()
	rpc.HandleStream(s, "pours", func(_ context.Context, st *rpc.Stream[int, []byte]) error {
		for b := make([]byte, 10<<10); ; {
			if err := st.Send(b); err != nil {
				return err
			}
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	peer, err := rpc.Dial(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rpc.Open[[]byte, int](ctx, peer, "pours"); err != nil {
		t.Fatal(err)
	}
	called := make(chan struct{})
	go func() {
		defer close(called)
		for ctx.Err() == nil {
			rpc.Call[float64](ctx, peer, "sum", []float64{1, 2})
			rpc.Call[float64](ctx, peer, "sleep", -1.0)
			time.Sleep(time.Millisecond)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-called
		peer.Close()
		<-peer.Done()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return name
}

// What top prints as JSON is what goes on, and what the server has told is as spec/stats.schema.json says.
func TestTopJSON(t *testing.T) {
	name := busyServer(t)
	code, out, errs := runHere(t, "", "top", "--once", "--json", "--interval", "300ms", name)
	if code != 0 {
		t.Fatal(code, errs)
	}
	var f frame
	if err := json.Unmarshal([]byte(out), &f); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(f.Methods, func(m methodAt) bool { return m.Name == "sum" })
	if sum := f.Methods[i]; sum.Calls < 3 || sum.P50 <= 0 || sum.P50 > sum.P99 {
		t.Errorf("sum: %+v", sum)
	}
	if f.Rates.Errors < 3 || f.Rates.Calls < 6 || f.Rates.Sent <= 0 || f.Rates.Received <= 0 || f.Seconds < 0.2 {
		t.Errorf("%+v", f.Rates)
	}
	if len(f.Peers) != 1 || f.Peers[0].Calls < 6 || len(f.Stats.Connections) != 2 {
		t.Errorf("connections: %+v, %+v", f.Peers, f.Stats.Connections)
	}

	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "spec", "stats.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var whole struct{ Stats json.RawMessage }
	if err := json.Unmarshal([]byte(out), &whole); err != nil {
		t.Fatal(err)
	}
	told, err := jsonschema.UnmarshalJSON(strings.NewReader(string(whole.Stats)))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(told); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{`{}`, strings.Replace(string(whole.Stats), `"uptime":`, `"uptime":-`, 1), strings.Replace(string(whole.Stats), `"blocked"`, `"b"`, 1)} {
		if told, err = jsonschema.UnmarshalJSON(strings.NewReader(bad)); err == nil {
			err = schema.Validate(told)
		}
		if err == nil {
			t.Errorf("the schema takes %s", bad)
		}
	}
}

func TestTopText(t *testing.T) {
	name := busyServer(t)
	code, out, errs := runHere(t, "", "top", "--once", "--interval", "300ms", name)
	if code != 0 {
		t.Fatal(code, errs)
	}
	var blocked string
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == "1" {
			blocked = line
		}
	}
	if !strings.Contains(out, "InvalidArgument ") || !strings.HasPrefix(out, name+"  pid ") || !strings.Contains(blocked, " 1        1 ") {
		t.Errorf("%s", out)
	}
	if strings.Contains(out, "\x1b") || strings.Contains(out, "standpipe.stats") {
		t.Errorf("%q", out)
	}
}

// A server that does not admit this user says so, and one that has no such method is told apart.
func TestTopRefused(t *testing.T) {
	name := pipetest.Name(t)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer()
	s.Require("standpipe.stats", standpipe.User())
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	defer func() { cancel(); <-served }()
	if code, out, errs := runHere(t, "", "top", name); code != exitFailed || out != "" || !strings.Contains(errs, "PermissionDenied") {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	if code, _, _ := runHere(t, "", "top", name+"-not"); code != exitNoServer {
		t.Errorf("code %d where nobody serves", code)
	}
	if code, _, errs := runHere(t, "", "top", "--interval", "1ms", name); code != exitUsage || errs == "" {
		t.Errorf("code %d for a short interval", code)
	}
}

// someFrame is what a server with that many connections may do.
func someFrame(connections int) *frame {
	before := rpc.Stats{Uptime: 10, Methods: []rpc.MethodStats{{Name: "a", Calls: 5}, {Name: "b", Calls: 100, Times: []rpc.TimeCount{{UpTo: 1e-6, Count: 50}}}, {Name: "standpipe.stats"}}}
	now := rpc.Stats{PID: 7, Program: "/bin/x", Uptime: 12, Connected: connections + 1, Accepted: 20, Refused: map[string]int64{"Unimplemented": 2}, Methods: []rpc.MethodStats{
		{Name: "a", Kind: "unary", Calls: 5}, {Name: "b", Kind: "unary", Calls: 300, Open: 1, Errors: map[string]int64{"NotFound": 4},
			Times: []rpc.TimeCount{{UpTo: 1e-6, Count: 50}, {UpTo: 2e-3, Count: 200}}}, {Name: "standpipe.stats", Calls: 9}}}
	now.Connections = append(now.Connections, rpc.ConnectionStats{ID: 1, Self: true})
	for i := range connections {
		now.Connections = append(now.Connections, rpc.ConnectionStats{ID: int64(i + 2), User: "0", Who: "user 0\x1b[2J", Program: `C:\x\y.exe`, Blocked: i % 2, Streams: 3, Sent: 5000})
	}
	return newFrame("calc", []rpc.Stats{before}, now, false)
}

func TestFrame(t *testing.T) {
	f := someFrame(2)
	if m := f.Methods; len(m) != 2 || m[1].Calls != 100 || m[1].P50 != 2e-3 || m[0].P50 != 0 || m[1].Errors != 2 {
		t.Errorf("methods: %+v", m)
	}
	if f.Rates.Calls != 100 || f.Rates.Errors != 3 || len(f.Peers) != 2 {
		t.Errorf("%+v, %+v", f.Rates, f.Peers)
	}
	text := strings.Join(f.text(&paint{}), "\n")
	for _, part := range []string{"calc  pid 7  /bin/x  up 12s", "connections 2 (so far 19)  calls 100/s  errors 3.0/s", "refused Unimplemented 2",
		"b       unary      100     1    300  2.0ms  2.0ms  2.0ms  NotFound 4\na ", "y.exe"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("what the server says moves the cursor: %q", text)
	}
	for _, by := range orders {
		f.sort(by) // none of them fails
	}
	// A server that was made again has smaller counts: no rate is below 0.
	if f = newFrame("x", []rpc.Stats{f.Stats}, rpc.Stats{Uptime: 13, Methods: []rpc.MethodStats{{Name: "b", Calls: 1}}}, false); f.Methods[0].Calls != 0 {
		t.Errorf("%+v", f.Methods)
	}
}

func TestTopNumbers(t *testing.T) {
	for s, want := range map[float64]string{0: "-", 384e-9: "384ns", 3.84e-6: "3.8µs", 9.96e-6: "10µs", 0.9996: "1.0s", 0.0123: "12ms", 120: "120s"} {
		if got := seconds(s); got != want {
			t.Errorf("%v seconds: %s, not %s", s, got, want)
		}
	}
	for where, want := range map[string]string{"": "-", "/usr/bin/x": "x", `C:\x\y.exe`: "y.exe"} {
		if got := programName(where); got != want {
			t.Errorf("%q: %q, not %q", where, got, want)
		}
	}
	for n, want := range map[float64]string{0: "-", 17: "17 B", 999: "999 B", 1000: "1.0 KiB", 20480: "20 KiB", 5 << 40: "5.0 TiB"} {
		if got := size(n); got != want {
			t.Errorf("%v bytes: %s, not %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "-", 99999: "99999", 100000: "100k", 250_000_000: "250M"} {
		if got := number(n); got != want {
			t.Errorf("%d: %s, not %s", n, got, want)
		}
	}
}

// press gives the screen a key.
func press(s *screen, key tea.Key) tea.Cmd {
	_, cmd := s.Update(tea.KeyPressMsg(key))
	return cmd
}

func TestScreen(t *testing.T) {
	looks := 0
	s := &screen{ctx: t.Context(), last: someFrame(30), w: &watching{interval: time.Millisecond, look: func(context.Context) (view, error) {
		looks++
		return nil, errors.New("it has gone")
	}}}
	s.Update(tea.WindowSizeMsg{Width: 60, Height: 12})
	check := func(what string, want ...string) {
		t.Helper()
		lines := s.lines()
		if len(lines) != 12 {
			t.Errorf("%s: %d lines", what, len(lines))
		}
		for _, line := range lines {
			if w := lipgloss.Width(line); w > 60 {
				t.Errorf("%s: a line is %d wide: %q", what, w, line)
			}
		}
		for _, part := range want {
			if !strings.Contains(strings.Join(lines, "\n"), part) {
				t.Errorf("%s: %q is not in\n%s", what, part, strings.Join(lines, "\n"))
			}
		}
	}
	check("at first", "calc", "METHOD", "lines below", "by calls")
	press(s, tea.Key{Code: tea.KeyPgDown})
	check("a page below", "user 0")
	press(s, tea.Key{Code: 's', Text: "s"})
	press(s, tea.Key{Code: tea.KeyHome})
	check("sorted otherwise", "calc", "by errors")
	for range 100 {
		press(s, tea.Key{Code: tea.KeyDown})
	}
	check("at the end", "31  user")

	_, look := s.Update(again{})
	s.Update(look())
	check("when it has gone", "it has gone")
	press(s, tea.Key{Code: tea.KeySpace, Text: " "})
	check("held", "held")
	if s.Update(again{}); looks != 1 {
		t.Errorf("%d looks", looks)
	}
	for _, key := range []tea.Key{{Code: 'q', Text: "q"}, {Code: 'c', Mod: tea.ModCtrl}, {Code: tea.KeyEscape}} {
		if cmd := press(s, key); cmd == nil || cmd() != tea.Quit() {
			t.Errorf("%v does not end it", key)
		}
	}
	if v := s.View(); !v.AltScreen || v.Content == "" {
		t.Errorf("%+v", v)
	}
}

// The program paints, looks again, and ends when it is told to.
func TestScreenRuns(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	keys, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	defer w.Close()
	looks := 0
	s := &screen{ctx: t.Context(), last: someFrame(1)}
	s.w = &watching{interval: time.Millisecond, look: func(context.Context) (view, error) {
		if looks++; looks == 5 {
			w.Write([]byte("q"))
		}
		return someFrame(looks % 3), nil
	}}
	if _, err := tea.NewProgram(s, tea.WithContext(t.Context()), tea.WithInput(keys), tea.WithOutput(f), tea.WithWindowSize(100, 20)).Run(); err != nil {
		t.Fatal(err)
	}
	painted, err := os.ReadFile(f.Name())
	if err != nil || !strings.Contains(string(painted), "METHOD") || s.look < 4 {
		t.Errorf("after %d looks, %v: %q", s.look, err, painted)
	}
}
