//go:build linux || freebsd

package standpipe

import "golang.org/x/sys/unix"

const receiveFlags = unix.MSG_CMSG_CLOEXEC

func socketType(messages bool) (int, error) {
	if messages {
		return unix.SOCK_SEQPACKET, nil
	}
	return unix.SOCK_STREAM, nil
}
