package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// supported says why nothing can be measured on this system; nil: it can.
func supported() error { return nil }

// used is what this process has used; and where a child does its work, what that has.
func used(child int) usage {
	if child != 0 {
		return usedBy(child)
	}
	var r unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &r)
	u := usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), Switches: r.Nvcsw + r.Nivcsw}
	allocs := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(allocs)
	u.Allocs = allocs[0].Value.Uint64()
	u.Resident, u.Peak = residency("/proc/self/status")
	return u
}

// usedBy is what another process has used.
func usedBy(pid int) (u usage) {
	dir := fmt.Sprintf("/proc/%d", pid)
	u.Resident, u.Peak = residency(dir + "/status")
	tasks, _ := filepath.Glob(dir + "/task/*")
	for _, task := range tasks {
		status := fields(task + "/status")
		u.Switches += status["voluntary_ctxt_switches"] + status["nonvoluntary_ctxt_switches"]
		times, _ := os.ReadFile(task + "/schedstat")
		if f := strings.Fields(string(times)); len(f) > 0 {
			ns, _ := strconv.ParseInt(f[0], 10, 64)
			u.CPU += time.Duration(ns)
		}
	}
	return u
}

func residency(status string) (resident, peak int64) {
	f := fields(status)
	return f["VmRSS"] << 10, f["VmHWM"] << 10
}

// fields are the numbers of a file of lines "name: number ...".
func fields(file string) map[string]int64 {
	numbers := map[string]int64{}
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			numbers[name] = n
		}
	}
	return numbers
}

// busy is the CPU time that all processes of the machine have used.
func busy() time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on all systems that Go runs on
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	var sum time.Duration
	for i, f := range strings.Fields(line) {
		switch i {
		case 1, 2, 3, 6, 7, 8: // user, nice, system, irq, softirq, steal; not idle and iowait
			n, _ := strconv.ParseInt(f, 10, 64)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// machine describes where it runs.
func machine() string {
	var u unix.Utsname
	unix.Uname(&u)
	model := runtime.GOARCH
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			model = strings.TrimSpace(v)
			break
		}
	}
	return fmt.Sprintf("%d CPUs (%s), Linux %s, %s", runtime.NumCPU(), model, unix.ByteSliceToString(u.Release[:]), runtime.Version())
}
