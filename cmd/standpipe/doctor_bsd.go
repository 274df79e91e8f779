//go:build unix && !linux

package main

import (
	"bufio"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What these systems do not tell, or not to a program without cgo, is left out of the evidence.

func capabilities() (override, search bool) { return os.Geteuid() == 0, os.Geteuid() == 0 }

func protectedLinks() bool { return false }

func aclOf(string) []aclEntry { return nil }

func openSockets() (sockets, error) { return nil, errors.ErrUnsupported }

func holders() map[uint32][]int { return nil }

func programOf(int) string { return "" }

func processState(int) string { return "" }

func abstractElsewhere(string) int { return 0 }

// lockHolder is the process that its lock file names, where somebody holds the lock. Trying that takes it for a moment,
// shared, which servers wait out.
func lockHolder(path string, _ inode) int {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != unix.EWOULDBLOCK {
		return 0
	}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if text, ok := strings.CutPrefix(sc.Text(), "pid: "); ok {
			pid, _ := strconv.Atoi(text) // 0 where it is none
			return pid
		}
	}
	return 0
}
