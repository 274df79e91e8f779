package standpipe

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const receiveFlags = 0 // macOS has no MSG_CMSG_CLOEXEC

func socketType(messages bool) (int, error) {
	if messages {
		return 0, fmt.Errorf("macOS has no Unix sockets that keep message boundaries: %w", errors.ErrUnsupported)
	}
	return unix.SOCK_STREAM, nil
}
