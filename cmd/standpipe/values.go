package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// values are the JSON values to call with, one after the other.
type values struct {
	none  bool // neither data nor argument: a unary call takes null then, and a stream nothing
	live  bool // they may come as slowly as somebody types
	where string
	read  chan read
	stop  chan struct{}
	close func()
}

// read is what was read: a value, or why there is none; io.EOF behind the last.
type read struct {
	text json.RawMessage
	err  error
}

// newValues finds the values: the argument, or --data: JSON itself, @file, or - for stdin. A file and stdin may hold any number.
func newValues(args []string, data string, stdin io.Reader) (*values, error) {
	v := &values{read: make(chan read), stop: make(chan struct{})}
	v.close = func() { close(v.stop) }
	text := data
	switch {
	case len(args) > 0 && data != "":
		return nil, usagef("the value is there twice: as an argument, and as --data")
	case len(args) > 0:
		text = args[0]
	case data == "":
		v.none = true
		go v.feed(strings.NewReader(""))
		return v, nil
	}
	var from io.Reader
	switch {
	case text == "-":
		v.live, v.where, from = true, "stdin", stdin
	case strings.HasPrefix(text, "@"):
		f, err := os.Open(text[1:])
		if err != nil {
			return nil, usageError{err}
		}
		v.where, from = text[1:], f
		v.close = func() {
			close(v.stop)
			f.Close()
		}
	case !json.Valid([]byte(text)):
		return nil, usagef(`%q is not JSON; a string needs its quotes: '"text"'`, text)
	default:
		from = strings.NewReader(text)
	}
	go v.feed(from)
	return v, nil
}

// feed reads in a goroutine of its own, so that a read of stdin, which nothing can end, holds up nobody. Its goroutine ends with
// from, or with the program.
func (v *values) feed(from io.Reader) {
	dec := json.NewDecoder(from)
	for n := 1; ; n++ {
		var r read
		if r.err = dec.Decode(&r.text); r.err != nil && r.err != io.EOF {
			r.err = usagef("%s has what is not JSON, behind %d values: %w", v.where, n-1, r.err)
		}
		select {
		case v.read <- r:
		case <-v.stop:
			return
		}
		if r.err != nil {
			close(v.read)
			return
		}
	}
}

// next is the next value, and io.EOF behind the last.
func (v *values) next(ctx context.Context) (json.RawMessage, error) {
	select {
	case r, more := <-v.read:
		if !more {
			return nil, io.EOF
		}
		return r.text, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("reading %s: %w", v.where, context.Cause(ctx))
	}
}
