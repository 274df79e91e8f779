package rpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/standpipe/standpipe"
)

// A Code says how a call ended. The codes, their names and their numbers are gRPC's
// (https://grpc.io/docs/guides/status-codes/).
type Code uint16

// The codes.
const (
	OK                 Code = 0
	Canceled           Code = 1  // the caller gave up
	Unknown            Code = 2  // an error without a code
	InvalidArgument    Code = 3  // the value can't be right, whatever the state
	DeadlineExceeded   Code = 4  // the time was up
	NotFound           Code = 5  //
	AlreadyExists      Code = 6  //
	PermissionDenied   Code = 7  // the caller is known, and may not
	ResourceExhausted  Code = 8  // a limit was reached
	FailedPrecondition Code = 9  // the state must change first
	Aborted            Code = 10 // a conflict; the whole may be tried again
	OutOfRange         Code = 11 //
	Unimplemented      Code = 12 // no such method, or codec
	Internal           Code = 13 // an invariant is broken
	Unavailable        Code = 14 // the other side is gone, or going
	DataLoss           Code = 15 //
	Unauthenticated    Code = 16 // the caller is not known
)

var codeNames = [...]string{"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
	"PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal",
	"Unavailable", "DataLoss", "Unauthenticated"}

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("Code(%d)", uint16(c))
}

// An Error is how a call fails: what the handler returned, or what happened on the way. errors.Is finds
// context.Canceled and context.DeadlineExceeded in those with their codes, and what ended the connection in one with
// Unavailable.
type Error struct {
	Code    Code
	Message string   // for people; at most 64 KiB - 1 travel
	Details []Detail // for programs; at most 64 travel

	cause error // on this side only
}

// A Detail is a value beside an Error: a type's name, such as a Protobuf type URL, and its encoding.
type Detail struct {
	Type  string
	Value []byte
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, context.Canceled) and errors.Is(err, context.DeadlineExceeded) work.
func (e *Error) Is(target error) bool {
	return e.Code == Canceled && target == context.Canceled ||
		e.Code == DeadlineExceeded && target == context.DeadlineExceeded
}

// Errorf makes an *Error for a handler to return. A %w in the format stays visible to errors.Is on this side.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), cause: errors.Unwrap(err)}
}

// CodeOf is the code of err: that of an *Error, OK for nil, the right one for context's errors and standpipe's
// sentinels, and Unknown for all else.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	case errors.Is(err, standpipe.ErrDenied):
		return PermissionDenied
	case errors.Is(err, standpipe.ErrNoServer):
		return Unavailable
	}
	return Unknown
}

// toError is what travels for a handler's error.
func toError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		if e.Code != OK && e.Code <= Unauthenticated {
			return e
		}
		return &Error{Code: Unknown, Message: err.Error()}
	}
	return &Error{Code: CodeOf(err), Message: err.Error(), cause: err}
}
