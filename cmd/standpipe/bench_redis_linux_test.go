package main

import (
	"encoding/json"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A real Redis is measured, at the place that is named, and nothing is left in it.
func TestBenchRedis(t *testing.T) {
	path := shell(t, "redis-server")
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", port)
	server := exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	var said strings.Builder
	server.Stdout = &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		server.Process.Kill()
		server.Wait()
		if t.Failed() {
			t.Logf("redis-server said:\n%s", said.String())
		}
	}()
	conn, err := net.Dial("tcp", addr)
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); conn, err = net.Dial("tcp", addr) {
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("redis-server does not answer: %v", err)
	}
	defer conn.Close()

	command := filepath.Join(commandPath(t), "standpipe")
	out, err := exec.Command(command, "bench", "--json", "--duration", "600ms", "--sizes", "64,1M", "--only", "bare,redis", "--redis", addr).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var report struct {
		Cells []struct {
			Way       string
			Size      int
			RoundTrip struct {
				Count int
				P50   float64 `json:"p50_us"`
			} `json:"round_trip"`
			OneWay struct {
				BytesPerSecond float64 `json:"bytes_per_s"`
			} `json:"one_way"`
		}
		Left []any `json:"left_out"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
	sizes := 0
	for _, c := range report.Cells {
		if c.Way != "redis" {
			continue
		}
		sizes++
		if c.RoundTrip.Count == 0 || c.RoundTrip.P50 <= 0 || c.OneWay.BytesPerSecond <= 0 {
			t.Errorf("%+v: nothing was measured", c)
		}
	}
	if sizes != 2 || len(report.Left) != 0 {
		t.Errorf("Redis was measured at %d sizes, and %v left out; want 2 and nothing", sizes, report.Left)
	}
	if _, err := conn.Write([]byte("DBSIZE\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if got := string(answer[:n]); err != nil || got != ":0\r\n" {
		t.Errorf("DBSIZE after bench: %q, %v; want no key", got, err)
	}

	// A Redis that wants a password is left out, and it is said why.
	if _, err := conn.Write([]byte("CONFIG SET requirepass secret\r\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(answer); err != nil || string(answer[:n]) != "+OK\r\n" {
		t.Fatalf("CONFIG SET: %q, %v", answer[:n], err)
	}
	out, err = exec.Command(command, "bench", "--duration", "50ms", "--sizes", "64", "--only", "bare,redis", "--redis", addr).Output()
	if want := "Left out: redis: what answers at " + regexp.QuoteMeta(addr) + " is no Redis, or wants a password: NOAUTH"; err != nil || !regexp.MustCompile(want).Match(out) {
		t.Errorf("%v; this lacks %q:\n%s", err, want, out)
	}
}
