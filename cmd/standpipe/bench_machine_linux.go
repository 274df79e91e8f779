package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// benchBusy is the processor time that all programs of the machine have used together.
func benchBusy() (time.Duration, bool) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on all systems that Go runs on
	text, err := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	var busy time.Duration
	for i, field := range strings.Fields(line) {
		switch i {
		case 1, 2, 3, 6, 7, 8: // user, nice, system, interrupts, and what other machines have taken; not idle
			n, _ := strconv.ParseInt(field, 10, 64)
			busy += time.Duration(n) * tick
		}
	}
	return busy, err == nil && busy > 0
}

// benchModel is the processor's name; "": not known.
func benchModel() string { return benchField("/proc/cpuinfo", "model name") }

// benchMemory is how many bytes of memory can be had; 0: not known.
func benchMemory() int64 {
	number, _, _ := strings.Cut(benchField("/proc/meminfo", "MemAvailable"), " ")
	kib, _ := strconv.ParseInt(number, 10, 64)
	return kib << 10
}

// benchField is the first value of that name in a file of lines "name: value".
func benchField(file, name string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
