package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

// The cases of unary calls.

func init() {
	cases = append(cases, []testCase{
		{"values", values}, {"typed", typed}, {"wrong-type", wrongType}, {"unknown-method", unknownMethod}, {"wrong-kind", wrongKind},
		{"codes", codes}, {"details", details}, {"crash", crash}, {"deadline", deadline}, {"cancel", cancel}, {"metadata", metadata},
		{"who", whoIs}, {"back", back}, {"concurrent", concurrent}, {"max-calls", manyCalls}, {"large", large}, {"too-large", tooLarge},
		{"large-answer", largeAnswer}, {"json", jsonValues}, {"describe", describe}, {"drain", drain},
	}...)
}

// same fails where got is not want.
func same[T any](what string, got, want T) error {
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s: got %.200v, want %.200v", what, got, want)
	}
	return nil
}

// code fails where err does not have the code.
func code(what string, err error, want rpc.Code) error {
	if got := rpc.CodeOf(err); got != want {
		return fmt.Errorf("%s: got %v (%v), want %v", what, got, err, want)
	}
	return nil
}

// lives fails where the connection does not work any more.
func lives(ctx context.Context, p *rpc.Peer) error { return echo(ctx, p, "alive") }

// echo calls echo with v.
func echo[T any](ctx context.Context, p *rpc.Peer, v T) error {
	got, err := rpc.Call[T](ctx, p, "echo", v)
	if err != nil {
		return fmt.Errorf("echo of %.200v: %w", v, err)
	}
	return same("echo", got, v)
}

func values(ctx context.Context, p *rpc.Peer) error {
	return errors.Join(echo(ctx, p, any(nil)), echo(ctx, p, true), echo(ctx, p, false), echo(ctx, p, int64(math.MinInt64)),
		echo(ctx, p, int64(math.MaxInt64)), echo(ctx, p, 1.5), echo(ctx, p, ""), echo(ctx, p, "a\x00b"), echo(ctx, p, "é漢😀"),
		echo(ctx, p, []byte{0, 255}), echo(ctx, p, []int64{1, -1}), echo(ctx, p, map[string][]string{"k": {"v"}}))
}

func typed(ctx context.Context, p *rpc.Peer) error {
	add := func(a, b, want int64) error {
		got, err := rpc.Call[total](ctx, p, "add", pair{a, b})
		return errors.Join(err, same("add", got.Sum, want))
	}
	return errors.Join(add(2, 40, 42), add(math.MinInt64/2, math.MinInt64/2, math.MinInt64))
}

func wrongType(ctx context.Context, p *rpc.Peer) error {
	_, err := rpc.Call[total](ctx, p, "add", map[string]any{"a": "x", "b": 1})
	return errors.Join(code("add", err, rpc.InvalidArgument), lives(ctx, p))
}

func unknownMethod(ctx context.Context, p *rpc.Peer) error {
	_, err := rpc.Call[any](ctx, p, "nobody.has.it", any(nil))
	return errors.Join(code("call", err, rpc.Unimplemented), lives(ctx, p))
}

func wrongKind(ctx context.Context, p *rpc.Peer) error {
	_, unary := rpc.Call[any](ctx, p, "each", any(nil))
	st, err := rpc.Open[any, any](ctx, p, "echo")
	if err != nil {
		return err
	}
	defer st.Close()
	_, stream := st.Recv()
	return errors.Join(code("unary", unary, rpc.Unimplemented), code("stream", stream, rpc.Unimplemented), lives(ctx, p))
}

func fail(ctx context.Context, p *rpc.Peer, in failure) *rpc.Error {
	_, err := rpc.Call[any](ctx, p, "fail", in)
	e := new(rpc.Error)
	if !errors.As(err, &e) {
		return rpc.Errorf(rpc.OK, "it did not fail: %v", err)
	}
	return e
}

func codes(ctx context.Context, p *rpc.Peer) error {
	for c := rpc.Canceled; c <= rpc.Unauthenticated; c++ {
		e := fail(ctx, p, failure{Code: c, Message: "because é"})
		if e.Code != c || e.Message != "because é" {
			return fmt.Errorf("code %d: got %v", c, e)
		}
	}
	return nil
}

func details(ctx context.Context, p *rpc.Peer) error {
	want := []detail{{"type/a", []byte{1, 2, 0}}, {"type/é", []byte{}}, {"type/a", []byte("x")}}
	e := fail(ctx, p, failure{rpc.Aborted, "", want})
	err := same("number of details", len(e.Details), len(want))
	for i, d := range e.Details {
		err = errors.Join(err, same("detail", d.Type+string(d.Value), want[i].Type+string(want[i].Data)))
	}
	return errors.Join(code("fail", e, rpc.Aborted), err)
}

func crash(ctx context.Context, p *rpc.Peer) error {
	_, err := rpc.Call[any](ctx, p, "crash", any(nil))
	if err != nil && strings.Contains(err.Error(), "secret") {
		return fmt.Errorf("what the handler said was sent: %w", err)
	}
	return errors.Join(code("crash", err, rpc.Internal), lives(ctx, p))
}

// awaitState waits until the server's state is as wanted.
func awaitState(ctx context.Context, p *rpc.Peer, what string, wanted func(state) bool) error {
	for end := time.Now().Add(patience / 2); ; time.Sleep(10 * time.Millisecond) {
		s, err := rpc.Call[state](ctx, p, "state", any(nil))
		if err != nil || wanted(s) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("the server's state is %+v for ever, which is not: %s", s, what)
		}
	}
}

func idle(ctx context.Context, p *rpc.Peer) error {
	return awaitState(ctx, p, "nothing hangs", func(s state) bool { return s.Hanging == 0 })
}

func deadline(ctx context.Context, p *rpc.Peer) error {
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	_, err := rpc.Call[any](short, p, "hang", any(nil))
	long, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	left, failed := rpc.Call[int64](long, p, "left", any(nil))
	if left < 0 || left > 20000 {
		failed = errors.Join(failed, fmt.Errorf("%d ms are left", left))
	}
	none, without := rpc.Call[int64](context.WithoutCancel(ctx), p, "left", any(nil))
	return errors.Join(code("hang", err, rpc.DeadlineExceeded), failed, without, same("left without a limit", none, -1), idle(ctx, p))
}

func cancel(ctx context.Context, p *rpc.Peer) error {
	before, err := rpc.Call[state](ctx, p, "state", any(nil))
	if err != nil {
		return err
	}
	hanging, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := rpc.Call[any](hanging, p, "hang", any(nil))
		ended <- err
	}()
	if err := awaitState(ctx, p, "it hangs", func(s state) bool { return s.Hanging > 0 }); err != nil {
		return err
	}
	cancel()
	return errors.Join(code("hang", <-ended, rpc.Canceled), awaitState(ctx, p, "one more was cancelled", func(s state) bool {
		return s.Hanging == 0 && s.Cancelled == before.Cancelled+1
	}))
}

func metadata(ctx context.Context, p *rpc.Peer) error {
	sent := rpc.Metadata{"who": {"me", "two words"}, "trace-id": {"é"}}
	var header, trailer rpc.Metadata
	got, err := rpc.Call[map[string][]string](rpc.WithReply(rpc.WithMetadata(ctx, sent), &header, &trailer), p, "meta", any(nil))
	return errors.Join(err, same("metadata", got, sent), same("header", header, rpc.Metadata{"place": {"header"}}),
		same("trailer", trailer, rpc.Metadata{"place": {"trailer"}}))
}

func whoIs(ctx context.Context, p *rpc.Peer) error {
	got, err := rpc.Call[caller](ctx, p, "who", any(nil))
	// The server runs as the same user: so both see the same name.
	return errors.Join(err, same("who", got, caller{os.Getpid(), p.Identity().User}))
}

func back(ctx context.Context, p *rpc.Peer) error {
	got, err := rpc.Call[string](ctx, p, "back", any(nil))
	return errors.Join(err, same("back", got, "hello case"))
}

// atOnce runs f n times at once.
func atOnce(n int, f func(i int) error) error {
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- f(i) }()
	}
	var failed error
	for range n {
		failed = errors.Join(failed, <-errs)
	}
	return failed
}

func concurrent(ctx context.Context, p *rpc.Peer) error {
	const callers, calls = 64, 20
	return atOnce(callers, func(i int) error {
		for k := range calls {
			if err := echo(ctx, p, fmt.Sprintf("%d of %d", k, i)); err != nil {
				return err
			}
		}
		return nil
	})
}

func slow(ctx context.Context, p *rpc.Peer, ms int64) error {
	got, err := rpc.Call[int64](ctx, p, "slow", pause{ms})
	return errors.Join(err, same("slow", got, ms))
}

func manyCalls(ctx context.Context, p *rpc.Peer) error {
	return atOnce(100, func(int) error { return slow(ctx, p, 50) })
}

func large(ctx context.Context, p *rpc.Peer) error {
	v := make([]byte, 8e6)
	pattern(v)
	got, err := rpc.Call[[]byte](ctx, p, "echo", v)
	return errors.Join(err, same("equal", string(got) == string(v), true))
}

const aboveLimit = 17e6

func tooLarge(ctx context.Context, p *rpc.Peer) error {
	_, err := rpc.Call[[]byte](ctx, p, "echo", make([]byte, aboveLimit))
	return errors.Join(code("echo", err, rpc.ResourceExhausted), lives(ctx, p))
}

func largeAnswer(ctx context.Context, p *rpc.Peer) error {
	_, err := rpc.Call[[]byte](ctx, p, "bytes", size{aboveLimit})
	return errors.Join(code("bytes", err, rpc.ResourceExhausted), lives(ctx, p))
}

func jsonValues(ctx context.Context, p *rpc.Peer) error {
	ctx = rpc.WithCodec(ctx, rpc.JSON)
	return errors.Join(echo(ctx, p, "é\x00\""), echo(ctx, p, []int64{1, -1}), echo(ctx, p, map[string][]string{"k": {"v"}}))
}

func describe(ctx context.Context, p *rpc.Peer) error {
	d, err := rpc.Describe(ctx, p)
	if err != nil {
		return err
	}
	kinds := map[string]string{}
	for _, m := range d.Methods {
		kinds[m.Name] = m.Kind
	}
	for kind, methods := range map[string]string{
		"unary":  "echo add fail crash hang slow state left meta who back bytes make check copy drain",
		"stream": "count sum each speak broken flood swap",
	} {
		for method := range strings.FieldsSeq(methods) {
			err = errors.Join(err, same("the kind of "+method, kinds[method], kind))
		}
	}
	return err
}

func drain(ctx context.Context, p *rpc.Peer) error {
	ended := make(chan error, 1)
	go func() { ended <- slow(ctx, p, 1000) }()
	time.Sleep(200 * time.Millisecond) // it has begun, or what follows shows that it had not
	if _, err := rpc.Call[any](ctx, p, "drain", any(nil)); err != nil {
		return err
	}
	select {
	case <-p.Draining():
	case <-ctx.Done():
		return errors.New("the server does not say that it drains")
	}
	err := errors.Join(code("echo", lives(ctx, p), rpc.Unavailable), <-ended)
	select {
	case <-p.Done():
		return err
	case <-ctx.Done():
		return errors.Join(err, errors.New("the connection does not end"))
	}
}
