package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// list runs the command, and returns its lines by path.
func (w *ward) list(as who, args ...string) map[string]listed {
	w.t.Helper()
	out, err := w.command(as, append([]string{"list", "--json"}, args...)...).Output()
	if err != nil {
		w.t.Fatalf("list: %v: %s", err, out)
	}
	found := map[string]listed{}
	for line := range strings.Lines(string(out)) {
		var e listed
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			w.t.Fatalf("%q: %v", line, err)
		}
		found[e.Path] = e
	}
	return found
}

func TestListStates(t *testing.T) {
	w := newWard(t, doctorProgram(t))
	run := w.mkdir(0o700, 0, "run")
	w.serve(who{}, "one")
	w.kill(w.serve(who{}, "two"))
	w.serve(who{}, "three")
	long := strings.Repeat("long", 32)
	w.kill(w.serve(who{}, long)) // its file is called otherwise
	at := func(name string) string { return filepath.Join(run, "standpipe", name+".sock") }
	w.must(os.Remove(at("three")))
	w.listen(at("foreign"), 0o600, 0, "") // another program, in a place of ours
	abstract := "@" + unique(w) + "\x1b[31m"
	w.socket(unix.SOCK_SEQPACKET, abstract, 5)
	log := w.path("log")
	w.socket(unix.SOCK_DGRAM, log, -1)
	gone := w.listen(w.path("gone"), 0o600, 0, "")
	w.must(os.Remove(gone))

	me := selfID()
	found := w.list(who{})
	for path, want := range map[string]listed{
		at("one"):     {Name: "one", State: alive, Program: w.exe},
		at("two"):     {Name: "two", State: dead},
		at("three"):   {Name: "three", State: removed, Program: w.exe},
		at("foreign"): {Name: "foreign", State: alive, PID: os.Getpid()},
	} {
		got := found[path]
		if got.Name != want.Name || got.State != want.State || got.Owner != me || want.Program != "" && got.Program != want.Program ||
			want.PID != 0 && got.PID != want.PID || (got.PID == 0) != (want.State == dead) {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
	for path, e := range found {
		if strings.HasPrefix(filepath.Base(path), "~") && (e.Name != long || e.State != dead) {
			t.Errorf("%s: %+v", path, e)
		}
		if path == log || path == gone {
			t.Errorf("%s is listed without --all", path)
		}
	}
	if len(found) != 5 {
		t.Errorf("%d endpoints: %+v", len(found), found)
	}
	found = w.list(who{}, "--all")
	for path, want := range map[string]listed{
		abstract:  {Kind: "messages", State: alive},
		log:       {Kind: "datagrams", State: alive},
		gone:      {Kind: "stream", State: removed},
		at("one"): {Name: "one", State: alive},
	} {
		got := found[path]
		if got.Name != want.Name || got.State != want.State || got.Kind != want.Kind || got.Owner != me || got.PID == 0 || got.Program == "" {
			t.Errorf("with --all, %q: %+v, want %+v", path, got, want)
		}
	}
	out, err := w.command(who{}, "list", "--all").Output()
	if err != nil || strings.ContainsAny(string(out), "\x1b") || !strings.Contains(string(out), `\x1b[31m`) {
		t.Errorf("a name moves the cursor: %v: %q", err, out)
	}
	if !strings.HasPrefix(string(out), "foreign\t") {
		t.Errorf("names do not come first: %s", out)
	}
}

// What is not a user's to see is left out, and said to be unknown.
func TestListOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("LEFT OUT: only root can play others")
	}
	w := newWard(t, doctorProgram(t))
	w.mkdir(0o700, alice, "run")
	path := w.listen(w.path("root.sock"), 0o666, 0, "")
	hidden := w.mkdir(0o700, 0, "hidden")
	w.listen(filepath.Join(hidden, "s"), 0o666, 0, "")
	w.serve(who{uid: alice}, "hers")
	found := w.list(who{uid: alice}, "--all")
	if e := found[path]; e.Owner != "0" || e.OwnerName != "root" || e.PID != 0 || e.State != alive {
		t.Errorf("%+v", e)
	}
	if e := found[filepath.Join(hidden, "s")]; e.Owner != "0" || e.State != alive {
		t.Errorf("in a folder that can't be looked into: %+v", e)
	}
	if e := found[w.path("run", "standpipe", "hers.sock")]; e.Name != "hers" || e.PID == 0 || e.Program != w.exe {
		t.Errorf("%+v", e)
	}
}
