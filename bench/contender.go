package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
)

// A contender is one way for two processes of one machine to talk to each other. Each has a file, and registers itself
// from init. Its server runs in one process, its client in another.
type contender struct {
	name    string // short and unique; what -only takes
	group   group
	over    string        // what carries it: unix, tcp, memory, or standpipe's ring, which is memory beside a socket
	note    string        // how it is used here
	modules []string      // whose versions are told
	version func() string // the same of a program; may be nil

	// serve runs the server: it calls env.ready once clients can connect. The process ends when the measuring is over.
	serve func(e *env) error
	// dial makes one connection, or what the contender has in its place.
	dial func(e *env) (client, error)
	// missing says what this machine lacks to run the contender. May be nil.
	missing func() error

	payload func(n int) int // the bytes of payload that a call's message of n bytes has room for; nil: all
	max     int             // the largest payload, in bytes; 0: no limit
	shared  string          // what concurrent callers share; "": one connection
	huge    bool            // messages above largest are measured, too
	parts   string          // the parts that it is for; "": all

	idleMost int  // how many idle connections this machine can take; 0: any number
	noIdle   bool // there is no second connection to a server
}

// A group is a part of the tables.
type group int

const (
	floors group = iota // bare sockets
	ours
	peers
)

// A client is the client's end of one connection.
type client interface {
	// caller returns a caller for one goroutine. All callers of a client share its connection, if they can at all.
	caller() (caller, error)
	close() error
}

// A caller makes calls, one at a time.
type caller interface {
	// call sends req, and waits for a response with the same content, which is valid until the next call.
	call(req []byte) (resp []byte, err error)
}

// A streamer is a client that can send messages one way.
type streamer interface {
	// stream sends msg n times, and returns when the server has received, and touched, all of it.
	stream(msg []byte, n int) error
}

// A carrier is a client whose calls can carry memory that was used before, and that is not copied.
type carrier interface {
	// carry returns two functions that make a call of smallCall bytes each: with n bytes beside it, which nobody touches, and without.
	carry(n int) (with, without func() error, err error)
}

// A putter is a caller of a contender without one-way messages: the server touches the message, and answers with next to nothing.
type putter interface {
	put(msg []byte) error
}

// env is what both processes know of a run.
type env struct {
	dir   string            // private to the two processes, empty at the start
	addr  string            // in the client: what the server gave to ready
	ready func(addr string) // tells the client that the server is there
	child atomic.Int64      // the process that does the server's work, if it is not ours
}

// socket is a path for a Unix socket.
func (e *env) socket() string { return filepath.Join(e.dir, "s") }

var contenders = map[string]*contender{}

func register(c contender) {
	if contenders[c.name] != nil {
		panic("two contenders are called " + c.name)
	}
	contenders[c.name] = &c
}

// compare orders contenders by group and name.
func compare(a, b *contender) int {
	if a.group != b.group {
		return int(a.group - b.group)
	}
	return strings.Compare(a.name, b.name)
}

// choose returns the contenders that are named in only, separated by commas ("": all), without those in not.
func choose(only, not string) ([]*contender, error) {
	named := func(list string) (map[string]*contender, error) {
		found := map[string]*contender{}
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name == "" {
				continue
			}
			if contenders[name] == nil {
				return nil, fmt.Errorf("there is no contender %q (-list shows them)", name)
			}
			found[name] = contenders[name]
		}
		return found, nil
	}
	wanted, err := named(only)
	if err != nil {
		return nil, err
	}
	if only == "" {
		wanted = maps.Clone(contenders)
	}
	unwanted, err := named(not)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(wanted, func(name string, _ *contender) bool { return unwanted[name] != nil })
	if len(wanted) == 0 {
		return nil, fmt.Errorf("no contender is left")
	}
	return slices.SortedFunc(maps.Values(wanted), compare), nil
}

// touch reads one byte of each cache line, the least that a receiver does.
func touch(b []byte) (sum uint64) {
	for i := 0; i < len(b); i += 64 {
		sum += uint64(b[i])
	}
	return sum
}
