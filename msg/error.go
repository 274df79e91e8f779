package msg

import (
	"errors"
	"fmt"
)

// ErrTooLarge: a message is above the limit that the peer announced, or our own. Nothing was sent, and the Channel is as
// good as before.
var ErrTooLarge = errors.New("msg: the message is too large")

// ErrReleased: a Buffer was to be sent that was sent or released before. Nothing was sent.
var ErrReleased = errors.New("msg: a Buffer is not this side's any more")

// ErrInterrupted: Interrupt ended a Recv. It is the one error of Recv that is not final.
var ErrInterrupted = errors.New("msg: Recv was interrupted")

// A ProtocolError ends a connection: one side sent what spec/wire.md does not allow, or speaks something else.
type ProtocolError struct {
	Text   string // what was wrong
	Remote bool   // the peer says so of us
}

func (e *ProtocolError) Error() string {
	if e.Remote {
		return fmt.Sprintf("msg: the peer ended the connection: %q", e.Text)
	}
	return "msg: protocol error: " + e.Text
}

func protocolError(format string, args ...any) error {
	return &ProtocolError{Text: fmt.Sprintf(format, args...)}
}

// fault is what the peer did wrong, and nil for any other error.
func fault(err error) *ProtocolError {
	if e, ok := err.(*ProtocolError); ok && !e.Remote {
		return e
	}
	return nil
}
