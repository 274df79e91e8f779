//go:build unix && !linux

package pipetest

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// descriptors are the open ones among the first 4096; what they lead to, the system does not say to all.
func descriptors() census {
	c := census{}
	for fd := range 4096 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil {
			continue
		}
		key := fmt.Sprintf("fd %d %d:%d", fd, st.Dev, st.Ino)
		c[key] = fmt.Sprintf("descriptor %d: mode %#o, device %d, inode %d", fd, st.Mode, st.Dev, st.Ino)
	}
	return c
}

// mappings: there is no list of them to be had without cgo.
func mappings() census { return nil }
