package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// A trace's file has a line of JSON for each record, in the order in which things passed. The first says what the file is.
// What is shown of a trace is made from these alone, so that a file shows what was seen.

// record is one line. Times are nanoseconds since the trace began.
type record struct {
	Trace  int       `json:"standpipe-trace,omitempty"` // 1: the first line of a file
	Began  time.Time `json:"began,omitzero"`            // first line
	Target string    `json:"target,omitempty"`          // first line: the server
	At     int64     `json:"at"`
	Conn   int64     `json:"conn,omitempty"`
	What   string    `json:"what,omitempty"`
	Way    string    `json:"way,omitempty"` // of bytes, files and end
	Bytes  []byte    `json:"bytes,omitempty"`
	Files  int       `json:"files,omitempty"`
	Size   uint64    `json:"size,omitempty"`   // of beside
	Client string    `json:"client,omitempty"` // of open
	Server string    `json:"server,omitempty"` // of open
	Text   string    `json:"text,omitempty"`   // of open: why no memory is shared; of end: how it ended

	taken []*os.File // of files, while they pass
}

// What a record is of.
const (
	recOpen   = "open"
	recBytes  = "bytes"
	recFiles  = "files" // as many were handed over with the bytes before
	recEnd    = "end"   // of one way
	recClose  = "close"
	recBeside = "beside" // so many bytes of one way went through a ring, unseen
)

const (
	toServer = "to-server"
	toClient = "to-client"
)

func wayOf(server bool) string {
	if server {
		return toServer
	}
	return toClient
}

// createTrace makes a file for this user only, since what passes is nobody else's business; it does not overwrite one.
func createTrace(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, usagef("%s is there already: remove it, or give another name", name)
	}
	return f, err
}

// longestRecord is above what a record of relayChunk bytes has.
const longestRecord = 1 << 20

// readTrace calls fn for each record of a file, the first one included. A file that ends within a line, as after a kill, ends there.
func readTrace(r io.Reader, fn func(*record) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestRecord)
	var bad error // of the line before
	n := 0
	for ; lines.Scan(); n++ {
		if bad != nil {
			return bad
		}
		var rec record
		bad = json.Unmarshal(lines.Bytes(), &rec)
		if n == 0 && (bad != nil || rec.Trace != 1) {
			return usagef("this is no trace: it does not begin with a line such as {\"standpipe-trace\":1}")
		}
		if bad != nil {
			bad = fmt.Errorf("line %d of the trace is broken: %w", n+1, bad)
			continue
		}
		if err := fn(&rec); err != nil {
			return err
		}
	}
	if lines.Err() == bufio.ErrTooLong {
		return fmt.Errorf("line %d of the trace is longer than any that trace writes", n+1)
	}
	if n == 0 && lines.Err() == nil {
		return usagef("this is no trace: it is empty")
	}
	return lines.Err()
}

// openTrace opens a file, or stdin for -.
func openTrace(name string, stdin io.Reader) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(stdin), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, usagef("the trace: %w", err)
	}
	return f, nil
}
