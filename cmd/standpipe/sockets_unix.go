//go:build unix

package main

import "golang.org/x/sys/unix"

// socket is an endpoint as the kernel has it in its table, whatever lies in the file system.
type socket struct {
	path           string // as it was bound; @name
	kind           string // stream, packet, datagram
	listening      bool
	inode          uint32 // the socket's own
	file           fileID
	waiting, queue uint32 // clients that were not accepted yet, and how many there may be
	uid            uint32
	uidKnown       bool
}

// fileID is what the table says of a socket's file; it has 32 bits of the inode's number.
type fileID struct{ ino, dev uint32 }

type sockets []*socket

// owner is the user whose process made the socket.
func (s *socket) owner() string {
	if s.uidKnown {
		return "user " + userText(s.uid)
	}
	return "another user"
}

// named is the socket that was bound to path, the listening one first.
func (t sockets) named(path string) (found *socket) {
	for _, s := range t {
		if s.path == path && (s.listening || found == nil) {
			found = s
		}
	}
	return found
}

// bound is a listening socket that was bound to one of the paths.
func (t sockets) bound(paths ...string) *socket {
	for _, path := range paths {
		if s := t.named(path); s != nil && s.listening {
			return s
		}
	}
	return nil
}

// at is the socket whose file is f, by whatever path it was bound; an abstract one has its name only.
func (t sockets) at(path string, f inode) *socket {
	if f.ino == 0 {
		return t.named(path)
	}
	var found *socket
	for _, s := range t {
		same := s.file == f.id() || s.file.ino == f.id().ino && s.path == path // some file systems have two numbers
		if same && (s.listening || found == nil) {
			found = s
		}
	}
	return found
}

// id is f as the table has it.
func (f inode) id() fileID {
	return fileID{uint32(f.ino), unix.Major(f.dev)<<20 | unix.Minor(f.dev)}
}

// pending is how many clients wait to be accepted; 0 also where that is not known.
func pending(path string, f inode) uint32 {
	table, err := openSockets()
	if err != nil {
		return 0
	}
	if s := table.at(path, f); s != nil && s.listening {
		return s.waiting
	}
	return 0
}
