package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// holders are the processes that have a socket open, by its inode; of those that this process may look into.
func holders() map[uint32][]int {
	found := map[uint32][]int{}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // its one error is a bad pattern
	for _, link := range links {
		to, err := os.Readlink(link)
		text, ok := strings.CutPrefix(to, "socket:[")
		if err != nil || !ok {
			continue
		}
		inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 32)
		pid, pidErr := strconv.Atoi(strings.Split(link, "/")[2])
		if err == nil && pidErr == nil && !slices.Contains(found[uint32(inode)], pid) {
			found[uint32(inode)] = append(found[uint32(inode)], pid)
		}
	}
	for _, pids := range found {
		slices.Sort(pids)
	}
	return found
}

// programOf is what a process runs; "" where that may not be seen.
func programOf(pid int) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return ""
	}
	return path
}

// processState is the letter of proc_pid_stat(5): T for a stopped one.
func processState(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // a name may have blanks and brackets
	if len(fields) == 0 {
		return ""
	}
	return fields[0]
}

// lockHolder is the process that holds the lock of file f, at path; 0: none. It takes no lock, and sees other users' too.
func lockHolder(_ string, f inode) int {
	table, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer table.Close()
	want := fmt.Sprintf("%02x:%02x:%d", unix.Major(f.dev), unix.Minor(f.dev), f.ino)
	for sc := bufio.NewScanner(table); sc.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF
		w := strings.Fields(sc.Text())
		if len(w) >= 6 && w[1] == "FLOCK" && w[3] == "WRITE" && w[5] == want {
			pid, err := strconv.Atoi(w[4])
			if err == nil && pid > 0 {
				return pid
			}
		}
	}
	return 0
}

// abstractElsewhere is a process of another network namespace that has an abstract socket of that name there; 0: none is
// seen.
func abstractElsewhere(name string) int {
	seen := map[string]bool{}
	if own, err := os.Readlink("/proc/self/ns/net"); err == nil {
		seen[own] = true
	}
	spaces, _ := filepath.Glob("/proc/[0-9]*/ns/net") // its one error is a bad pattern
	for _, space := range spaces {
		id, err := os.Readlink(space)
		if err != nil || seen[id] {
			continue
		}
		seen[id] = true
		pid := strings.Split(space, "/")[2]
		table, err := os.ReadFile("/proc/" + pid + "/net/unix")
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(table)) {
			if w := strings.Fields(line); len(w) == 8 && w[3] == "00010000" && w[7] == name { // __SO_ACCEPTCON: it listens
				n, _ := strconv.Atoi(pid) // the pattern has made it a number
				return n
			}
		}
	}
	return 0
}
