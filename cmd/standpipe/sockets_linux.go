package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What sock_diag(7) and linux/unix_diag.h call things. States are those of TCP.
const (
	diagListen, diagClosed = 10, 7

	diagName, diagFile, diagQueue, diagUser = 0, 1, 4, 7

	showName, showFile, showQueue, showUser = 0x01, 0x02, 0x10, 0x40
)

// openSockets asks the kernel for all Unix sockets of this network namespace to which one may connect, or send.
func openSockets() (sockets, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}) // it answers at once, or something is wrong
	const size = unix.SizeofNlMsghdr + 24
	order := binary.NativeEndian
	ask := order.AppendUint32(nil, size)
	ask = order.AppendUint16(ask, unix.SOCK_DIAG_BY_FAMILY)
	ask = order.AppendUint16(ask, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	ask = append(ask, make([]byte, 8)...) // sequence number, port
	ask = append(ask, unix.AF_UNIX, 0, 0, 0)
	ask = order.AppendUint32(ask, 1<<diagListen|1<<diagClosed)
	ask = order.AppendUint32(ask, 0) // any inode
	ask = order.AppendUint32(ask, showName|showFile|showQueue|showUser)
	ask = append(ask, make([]byte, 8)...) // cookie
	if err := unix.Sendto(fd, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	var table sockets
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return nil, os.NewSyscallError("netlink", err)
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return table, nil
			case unix.NLMSG_ERROR:
				return nil, os.NewSyscallError("sock_diag", errorOf(m.Data))
			}
			if s := parseSocket(m.Data); s != nil {
				table = append(table, s)
			}
		}
	}
}

// errorOf is the number that a message of an error holds.
func errorOf(data []byte) error {
	if len(data) < 4 {
		return unix.EPROTO
	}
	return syscall.Errno(-int32(binary.NativeEndian.Uint32(data)))
}

// parseSocket reads one entry: unix_diag_msg, and attributes. Sockets without a name, and connected ones, are none.
func parseSocket(b []byte) *socket {
	const fixed = 16
	if len(b) < fixed {
		return nil
	}
	order := binary.NativeEndian
	s := &socket{inode: order.Uint32(b[4:]), listening: b[2] == diagListen}
	switch b[1] {
	case unix.SOCK_STREAM:
		s.kind = "stream"
	case unix.SOCK_SEQPACKET:
		s.kind = "messages"
	case unix.SOCK_DGRAM:
		s.kind = "datagrams"
	}
	for b = b[fixed:]; len(b) >= unix.SizeofRtAttr; {
		size := int(order.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			break
		}
		s.attribute(order.Uint16(b[2:]), b[unix.SizeofRtAttr:size])
		b = b[min((size+3)&^3, len(b)):]
	}
	if s.path == "" {
		return nil
	}
	return s
}

func (s *socket) attribute(kind uint16, v []byte) {
	order := binary.NativeEndian
	switch {
	case kind == diagName && len(v) > 1 && v[0] == 0:
		s.path = "@" + strings.TrimRight(string(v[1:]), "\x00") // some programs give all of sun_path
	case kind == diagName:
		path, _, _ := bytes.Cut(v, []byte{0})
		s.path = string(path)
	case kind == diagFile && len(v) >= 8:
		s.file = fileID{order.Uint32(v), order.Uint32(v[4:])}
	case kind == diagQueue && len(v) >= 8:
		s.waiting, s.queue = order.Uint32(v), order.Uint32(v[4:])
	case kind == diagUser && len(v) >= 4:
		s.uid, s.uidKnown = order.Uint32(v), true
	}
}
