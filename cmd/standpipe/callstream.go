package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

// stream opens a stream, sends all values, first before the others where it is given, and prints what comes, until the handler
// has returned.
func (c *calling) stream(first *rpc.Raw) error {
	var limit time.Duration
	if c.cmd.Flags().Changed("timeout") {
		limit = c.timeout
	}
	ctx, cancel := limited(c.ctx, limit)
	defer cancel()
	if first == nil && !c.values.none && !c.values.live { // that it does not fit is found before anything is sent
		in, err := c.next(ctx)
		if err != nil && err != io.EOF {
			return err
		}
		if err == nil {
			first = &in
		}
	}
	st, err := rpc.Open[rpc.Raw, rpc.Raw](ctx, c.peer, c.method)
	if err != nil {
		return err
	}
	defer st.Close()
	unsent := make(chan error, 1)
	go func() {
		if err := c.send(ctx, st, first); err != nil {
			unsent <- err
			st.Close() // wakes Recv
		}
	}()
	if c.verbose {
		header, _ := st.Header() // its error is Recv's, too
		c.showMeta("header", header)
	}
	for err == nil {
		var out rpc.Raw
		if out, err = st.Recv(); err != nil {
			break
		}
		err = c.print(out)
		out.Release()
	}
	c.showMeta("trailer", st.Trailer())
	select {
	case err := <-unsent:
		return err
	default:
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// send sends the values, and then that no more come. Where the stream has ended there is nothing to say: Recv does.
func (c *calling) send(ctx context.Context, st *rpc.Stream[rpc.Raw, rpc.Raw], first *rpc.Raw) error {
	if first != nil {
		if err := st.Send(*first); err != nil {
			return ended(err)
		}
	}
	for {
		in, err := c.next(ctx)
		switch {
		case err == io.EOF:
			return ended(st.CloseSend())
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if err := st.Send(in); err != nil {
			return ended(err)
		}
	}
}

// ended is nil for an error that Recv has, too. What remains is a value that could not be sent.
func ended(err error) error {
	switch code := rpc.CodeOf(err); {
	case errors.Is(err, io.EOF), code == rpc.Canceled, code == rpc.DeadlineExceeded, code == rpc.Unavailable:
		return nil
	}
	return err
}
