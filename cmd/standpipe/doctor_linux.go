package main

import (
	"encoding/binary"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// capabilities says whether files' modes count for this process: root of a container may have lost what makes it root.
func capabilities() (override, search bool) {
	b, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return false, false
	}
	_, rest, _ := strings.Cut(string(b), "\nCapEff:")
	word, _, _ := strings.Cut(rest, "\n")
	set, err := strconv.ParseUint(strings.TrimSpace(word), 16, 64)
	return err == nil && set&(1<<unix.CAP_DAC_OVERRIDE) != 0, err == nil && set&(1<<unix.CAP_DAC_READ_SEARCH) != 0
}

// protectedLinks: fs.protected_symlinks is set.
func protectedLinks() bool {
	b, err := os.ReadFile("/proc/sys/fs/protected_symlinks")
	return err == nil && strings.TrimSpace(string(b)) == "1"
}

// aclOf reads what acl(5) has beyond the mode: linux/posix_acl_xattr.h.
func aclOf(path string) []aclEntry {
	b := make([]byte, 4096)
	n, err := unix.Lgetxattr(path, "system.posix_acl_access", b)
	if err != nil || n < 4 || binary.LittleEndian.Uint32(b) != 2 {
		return nil
	}
	var acl []aclEntry
	for b = b[4:n]; len(b) >= 8; b = b[8:] {
		acl = append(acl, aclEntry{binary.LittleEndian.Uint16(b), uint32(binary.LittleEndian.Uint16(b[2:])), binary.LittleEndian.Uint32(b[4:])})
	}
	return acl
}
