//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/standpipe/standpipe"
)

func superuser() standpipe.Policy { return standpipe.User("0") }

// endpointFacts are what the file system says of a socket and of the folder that it lies in: who may reach it is
// decided by both. An abstract socket has no file.
func endpointFacts(path string) []fact {
	if path[0] == '@' {
		return []fact{{"mode", "none: an abstract socket is guarded by the server's look at who connects, and nothing else"}}
	}
	info, err := os.Lstat(path)
	if err != nil {
		return []fact{{"file", err.Error()}}
	}
	facts := append(owners("owner", info), fact{"made", time.Since(info.ModTime()).Round(time.Second).String() + " ago"})
	if dir, err := os.Lstat(filepath.Dir(path)); err == nil {
		facts = append(facts, owners("folder", dir)...)
	}
	return facts
}

// owners is who owns a file, and what its mode lets others do.
func owners(what string, info fs.FileInfo) []fact {
	text := fmt.Sprintf("mode %s (%04o)", info.Mode(), info.Mode().Perm())
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		text = fmt.Sprintf("user %s, group %s, %s", userText(st.Uid), groupText(st.Gid), text)
	}
	return []fact{{what, text}}
}

// userText is an uid with the name that it has.
func userText(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return id + " (" + u.Username + ")"
	}
	return id
}

// groupText is a gid with the name that it has.
func groupText(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return id + " (" + g.Name + ")"
	}
	return id
}
