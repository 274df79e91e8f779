package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// computers are the processes of this program that compute.
func computers(t *testing.T) (pids []int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if file, _ := os.Readlink(filepath.Join(dir, "exe")); file == exe && bytes.Contains(environ, []byte(sideEnv+"="+sideComputes+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			pids = append(pids, pid)
		}
	}
	return pids
}

// await waits until so many of them are there.
func await(t *testing.T, enough func(n int) bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !enough(len(computers(t))); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d processes compute", len(computers(t)))
		}
	}
}

func nobody(n int) bool { return n == 0 }

// One process computes on each CPU, until stop.
func TestCompute(t *testing.T) {
	cpus := allowed()
	stop, err := compute(cpus)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	pids := computers(t)
	if len(pids) != len(cpus) {
		t.Fatalf("%d processes for %d CPUs", len(pids), len(cpus))
	}
	for end := time.Now().Add(20 * time.Second); usedBy(pids[0]).CPU < 50*time.Millisecond; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not compute")
		}
	}
	stop()
	await(t, nobody)
	if _, err := compute(nil); err == nil {
		t.Error("it computes nowhere")
	}
}

// A process that computes ends with whoever started it, however that ends.
func TestComputesEnds(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), sideEnv+"="+sideComputes)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	await(t, func(n int) bool { return n == 1 })
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	await(t, nobody)
}

// An interrupt while they compute leaves none of them.
func TestInterruptComputes(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx, []string{"-only", "unix", "-parts", partLoaded, "-dur", "10s", "-memcpy=false", "-calm", "0", "-q"}, &bytes.Buffer{}, &bytes.Buffer{})
	}()
	await(t, func(n int) bool { return n == len(allowed()) })
	cancel()
	<-done
	await(t, nobody)
}
