package standpipe

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// inbox: there is none.
type inbox struct{}

func newInbox() *inbox { return nil }

func (e *endpoint) receive(_, _ []byte) (n, oobn int, err error) { return 0, 0, errors.ErrUnsupported }

func socketType(messages bool) (int, error) {
	if messages {
		return 0, fmt.Errorf("macOS has no Unix sockets that keep message boundaries: %w", errors.ErrUnsupported)
	}
	return unix.SOCK_STREAM, nil
}
