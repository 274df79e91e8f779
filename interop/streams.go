package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

// The cases of streams.

func init() {
	cases = append(cases, []testCase{
		{"count", func(ctx context.Context, p *rpc.Peer) error { return count(ctx, p, 10000) }},
		{"count-none", func(ctx context.Context, p *rpc.Peer) error { return count(ctx, p, 0) }},
		{"sum", addUp}, {"each", backAndForth}, {"speak", speak}, {"broken", broken}, {"close", closeEarly}, {"slow-reader", slowReader},
	}...)
}

// open opens a stream, and sends values and the end where there are any.
func open[In, Out any](ctx context.Context, p *rpc.Peer, method string, values ...Out) (*rpc.Stream[In, Out], error) {
	st, err := rpc.Open[In, Out](ctx, p, method)
	if err != nil || len(values) == 0 {
		return st, err
	}
	for _, v := range values {
		err = errors.Join(err, st.Send(v))
	}
	return st, errors.Join(err, st.CloseSend())
}

// receives receives 0 to n-1 and returns the error that follows.
func receives[Out any](st *rpc.Stream[int64, Out], n int64) (last, err error) {
	for i := range n {
		got, err := st.Recv()
		if err := errors.Join(err, same("value", got, i)); err != nil {
			return nil, err
		}
	}
	_, last = st.Recv()
	return last, nil
}

func count(ctx context.Context, p *rpc.Peer, n int64) error {
	st, err := open[int64](ctx, p, "count", upTo{n})
	if err != nil {
		return err
	}
	defer st.Close()
	last, err := receives(st, n)
	return errors.Join(err, same("end", last, io.EOF))
}

func addUp(ctx context.Context, p *rpc.Peer) error {
	var values []int64
	for i := range int64(1000) {
		values = append(values, i+1)
	}
	st, err := open[int64](ctx, p, "sum", values...)
	if err != nil {
		return err
	}
	defer st.Close()
	got, err := st.Recv()
	_, last := st.Recv()
	return errors.Join(err, same("sum", got, 500500), same("end", last, io.EOF))
}

func backAndForth(ctx context.Context, p *rpc.Peer) error {
	st, err := open[string, string](ctx, p, "each")
	if err != nil {
		return err
	}
	defer st.Close()
	for i := range 100 {
		v := strings.Repeat("x", i)
		err := st.Send(v)
		got, failed := st.Recv()
		if err := errors.Join(err, failed, same("value", got, v)); err != nil {
			return err
		}
	}
	err = st.CloseSend()
	_, last := st.Recv()
	return errors.Join(err, same("end", last, io.EOF))
}

func speak(ctx context.Context, p *rpc.Peer) error {
	st, err := open[string, string](ctx, p, "speak")
	if err != nil {
		return err
	}
	defer st.Close()
	got, err := st.Recv()
	return errors.Join(err, same("value", got, "first"))
}

func broken(ctx context.Context, p *rpc.Peer) error {
	const after3 = 3
	st, err := open[int64](ctx, p, "broken", after{after3})
	if err != nil {
		return err
	}
	defer st.Close()
	last, err := receives(st, after3)
	e := new(rpc.Error)
	if !errors.As(last, &e) || e.Message != "broken off" {
		err = errors.Join(err, fmt.Errorf("it ended by %v", last))
	}
	return errors.Join(err, code("end", last, rpc.DataLoss), lives(ctx, p))
}

// flood receives values of flood from number i on.
func flood(st *rpc.Stream[string, any], i, n int) error {
	for ; n > 0; i, n = i+1, n-1 {
		v, err := st.Recv()
		if err != nil {
			return err
		}
		if number, _, _ := strings.Cut(v, " "); number != fmt.Sprint(i) || len(v) != 1000 {
			return fmt.Errorf("value %d is %.20q with %d characters", i, v, len(v))
		}
	}
	return nil
}

func closeEarly(ctx context.Context, p *rpc.Peer) error {
	before, err := rpc.Call[state](ctx, p, "state", any(nil))
	if err != nil {
		return err
	}
	st, err := open[string, any](ctx, p, "flood")
	if err != nil {
		return err
	}
	err = errors.Join(flood(st, 0, 5), st.Close())
	return errors.Join(err, awaitState(ctx, p, "one more was cancelled", func(s state) bool {
		return s.Hanging == 0 && s.Cancelled == before.Cancelled+1
	}))
}

func slowReader(ctx context.Context, p *rpc.Peer) error {
	st, err := open[string, any](ctx, p, "flood")
	if err != nil {
		return err
	}
	defer st.Close()
	time.Sleep(300 * time.Millisecond) // it is full, or would fill memory
	for range 20 {
		err = errors.Join(err, lives(ctx, p))
	}
	return errors.Join(err, flood(st, 0, 5000))
}
