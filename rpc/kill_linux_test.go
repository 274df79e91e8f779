package rpc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const fewKills = 25

// watch sees that no segment outlives those who had it.
type watch struct {
	t      *testing.T
	inodes map[string]bool // of segments that were mapped here: ours, and the other side's
	files  []string        // in /dev/shm
	shmem  int             // kB of it, of the whole system
	notes  int
}

func newWatch(t *testing.T) *watch {
	w := &watch{t: t, inodes: map[string]bool{}, shmem: shmem(t)}
	w.files, _ = filepath.Glob("/dev/shm/*")
	return w
}

// segments are the inodes of those that a process maps: proc_pid_maps(5).
func segments(pid string) (list []string) {
	text, err := os.ReadFile("/proc/" + pid + "/maps")
	if err != nil {
		return nil // it has gone, or is not ours to look at
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 6 && f[5] == "/memfd:standpipe" {
			list = append(list, f[4])
		}
	}
	return list
}

func shmem(t *testing.T) (kB int) {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if n, _ := fmt.Sscanf(line, "Shmem: %d kB", &kB); n == 1 {
			return kB
		}
	}
	t.Fatal("/proc/meminfo has no Shmem")
	return 0
}

// note is told before each kill.
func (w *watch) note() {
	for _, inode := range segments("self") {
		w.inodes[inode] = true
	}
	w.notes++
}

// left says what is still there of what was noted.
func (w *watch) left() (list []string) {
	maps, _ := filepath.Glob("/proc/[0-9]*/maps")
	for _, path := range maps {
		pid := filepath.Base(filepath.Dir(path))
		for _, inode := range segments(pid) {
			if w.inodes[inode] {
				list = append(list, "process "+pid+" maps segment "+inode)
			}
		}
	}
	for _, inode := range segments("self") {
		list = append(list, "this process maps segment "+inode)
	}
	files, _ := filepath.Glob("/dev/shm/*")
	for _, f := range files {
		if strings.Contains(f, "standpipe") && !strings.Contains(strings.Join(w.files, "\n")+"\n", f+"\n") {
			list = append(list, "there is "+f)
		}
	}
	// Each connection had 2 MiB for rings alone. Others may use such memory too, so a little more is nothing.
	if more := shmem(w.t) - w.shmem; more > 16<<10+256*w.notes {
		list = append(list, fmt.Sprintf("the system has %d kB more of shared memory than before", more))
	}
	return list
}

// end waits a second for all to go.
func (w *watch) end() {
	w.t.Helper()
	if w.notes > 10 && len(w.inodes) < w.notes {
		w.t.Errorf("only %d segments were seen at %d kills", len(w.inodes), w.notes)
	}
	start := time.Now()
	for ; len(w.left()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > time.Second {
			w.t.Fatal(strings.Join(w.left(), "\n"))
		}
	}
	w.t.Logf("%d kills, %d segments seen, none left", w.notes, len(w.inodes))
}
