package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

// serveHere serves s in this process, and returns its name.
func serveHere(t *testing.T, s *rpc.Server) string {
	t.Helper()
	name := "t-" + strings.ToLower(rand.Text()[:8])
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return name
}

// kinds has a field of each kind that JSON and MessagePack write differently.
type kinds struct {
	Low   int64            `json:"low"`
	High  uint64           `json:"high"`
	Small int8             `json:"small"`
	Real  float64          `json:"real"`
	Data  []byte           `json:"data"`
	Lists [][]byte         `json:"lists"`
	Made  time.Time        `json:"made"`
	Map   map[string]int64 `json:"map"`
	Deep  *kinds           `json:"deep"`
	Any   any              `json:"any"`
}

const kindsText = `{"low":-9223372036854775808,"high":18446744073709551615,"small":-128,"real":0.1,"data":"AP8=","lists":["aGk=",""],` +
	`"made":"2026-01-02T03:04:05.000000006Z","map":{"a":9007199254740993},` +
	`"deep":{"low":0,"high":0,"small":0,"real":0,"data":"aGk=","lists":null,"made":"2026-01-02T03:04:05Z","map":null,"deep":null,"any":null},"any":"aGk="}`

// Values arrive, and come back, as they were typed, whatever they are encoded by.
func TestCallKinds(t *testing.T) {
	s := rpc.NewServer(nil)
	got := make(chan kinds, 1)
	rpc.Handle(s, "kinds", func(_ context.Context, in kinds) (kinds, error) {
		got <- in
		return in, nil
	})
	rpc.HandleStream(s, "each", func(_ context.Context, st *rpc.Stream[kinds, kinds]) error {
		in, err := st.Recv()
		if err != nil {
			return err
		}
		got <- in
		return st.Send(in)
	})
	name := serveHere(t, s)
	for _, codec := range []string{"json", "msgpack"} {
		for _, method := range []string{"kinds", "each"} {
			code, out, errs := runHere(t, "", "call", "--codec", codec, name, method, kindsText)
			if code != 0 || out != kindsText+"\n" {
				t.Errorf("%s by %s: code %d\n%s%s", method, codec, code, out, errs)
				continue
			}
			in := <-got
			if in.Low != math.MinInt64 || in.High != math.MaxUint64 || string(in.Data) != "\x00\xff" || in.Map["a"] != 9007199254740993 ||
				in.Any != "aGk=" || string(in.Deep.Data) != "hi" || in.Made.Nanosecond() != 6 {
				t.Errorf("%s by %s: the server got %+v", method, codec, in)
			}
		}
	}
}

// A context that ends, as by Ctrl-C, ends the handler's, and the program with 130.
func TestCallInterrupt(t *testing.T) {
	s := rpc.NewServer(nil)
	began, ended := make(chan struct{}, 1), make(chan error, 1)
	wait := func(ctx context.Context) error {
		began <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}
	rpc.Handle(s, "wait", func(ctx context.Context, _ any) (any, error) { return nil, wait(ctx) })
	rpc.HandleStream(s, "flow", func(ctx context.Context, _ *rpc.Stream[any, any]) error { return wait(ctx) })
	name := serveHere(t, s)
	never, stop := io.Pipe()
	defer stop.Close()
	for _, args := range [][]string{{"wait"}, {"flow"}, {"flow", "-"}, {"-v", "flow", "-"}} {
		ctx, cancel := context.WithCancel(t.Context())
		code := make(chan int, 1)
		var out, errs strings.Builder
		go func() { code <- run(ctx, append([]string{"call", name}, args...), never, &out, &errs) }()
		<-began
		cancel()
		if got := <-code; got != exitInterrupted || errs.String() != "standpipe: interrupted\n" {
			t.Errorf("%q: code %d, %s%s", args, got, out.String(), errs.String())
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%q: the handler's context ended with %v", args, err)
		}
	}
	// While stdin is waited for, nothing runs at the server.
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if got := run(ctx, []string{"call", name, "wait", "-"}, never, io.Discard, io.Discard); got != exitInterrupted {
		t.Errorf("while reading: code %d", got)
	}
}

// silent is a server that does not describe itself, or not to this user.
func silent(code rpc.Code) *rpc.Server {
	s := rpc.NewServer(&rpc.ServerConfig{Wrap: []rpc.Interceptor{
		func(ctx context.Context, call *rpc.CallInfo, next func(context.Context) error) error {
			if call.Method == "standpipe.describe" {
				return rpc.Errorf(code, "not here")
			}
			return next(ctx)
		}}})
	rpc.Handle(s, "first", func(_ context.Context, in []string) (string, error) { return in[0], nil })
	rpc.HandleStream(s, "words", words)
	return s
}

// Without a description a call works, unchecked, and so does a stream.
func TestCallUndescribed(t *testing.T) {
	for _, code := range []rpc.Code{rpc.Unimplemented, rpc.PermissionDenied, rpc.Unauthenticated} {
		name := serveHere(t, silent(code))
		for _, test := range []struct {
			stdin string
			args  []string
			code  int
			out   string
			errs  string
		}{
			{"", []string{"first", `["a"]`}, 0, "\"a\"\n", ""},
			{"", []string{"first", `5`}, 1, "", "InvalidArgument"},
			{`["a"] ["b"]`, []string{"first", "-"}, 0, "\"a\"\n\"b\"\n", ""},
			{"", []string{"words", `"a b"`}, 0, "\"a\"\n\"b\"\n", ""},
			{"", []string{"words"}, 0, "", ""},
			{`"a" "b c"`, []string{"--codec", "msgpack", "words", "-"}, 0, "\"a\"\n\"b\"\n\"c\"\n", ""},
			{"", []string{"words", "-"}, 0, "", ""},
			{"", []string{"third", "1"}, 1, "", "Unimplemented"},
		} {
			got, out, errs := runHere(t, test.stdin, append([]string{"call", name}, test.args...)...)
			if got != test.code || out != test.out || !strings.Contains(errs, test.errs) {
				t.Errorf("%v, %q: code %d\n%s%s", code, test.args, got, out, errs)
			}
		}
		if got, out, errs := runHere(t, "", "open", name, "words", `"a b"`); got != 0 || out != "\"a\"\n\"b\"\n" || errs != "" {
			t.Errorf("open words: code %d\n%s%s", got, out, errs)
		}
		if got, _, errs := runHere(t, "", "open", name, "first", `["a"]`); got != exitFailed || !strings.Contains(errs, "Unimplemented") {
			t.Errorf("open first: code %d, %s", got, errs)
		}
		if got, _, errs := runHere(t, "", "describe", name); got != exitFailed || !strings.Contains(errs, code.String()) {
			t.Errorf("describe: code %d, %s", got, errs)
		}
	}
}

// A description that fails otherwise is an error: the call would have no chance, or nobody knows.
func TestCallDescribeFails(t *testing.T) {
	name := serveHere(t, silent(rpc.Internal))
	if code, _, errs := runHere(t, "", "call", name, "first", `["a"]`); code != exitFailed || !strings.Contains(errs, "describe "+name+": Internal") {
		t.Errorf("code %d, %s", code, errs)
	}
}

// Metadata goes there, also with the question for the description, and comes back.
func TestCallMetadata(t *testing.T) {
	var asked []rpc.Metadata
	s := rpc.NewServer(&rpc.ServerConfig{Wrap: []rpc.Interceptor{
		func(ctx context.Context, call *rpc.CallInfo, next func(context.Context) error) error {
			asked = append(asked, rpc.MetadataFrom(ctx))
			return next(ctx)
		}}})
	answer := func(ctx context.Context) error {
		err := rpc.SetHeader(ctx, rpc.Metadata{"h": {"1", "two words"}})
		return errors.Join(err, rpc.SetTrailer(ctx, rpc.Metadata{"t": {"\x1b[2J"}}))
	}
	rpc.Handle(s, "unary", func(ctx context.Context, fails bool) (int, error) {
		if err := answer(ctx); err != nil {
			return 0, err
		}
		if fails {
			return 0, rpc.Errorf(rpc.NotFound, "gone")
		}
		return 5, nil
	})
	rpc.HandleStream(s, "flow", func(ctx context.Context, st *rpc.Stream[bool, int]) error {
		fails, err := st.Recv()
		if err != nil {
			return err
		}
		if err := errors.Join(answer(ctx), st.Send(5)); err != nil {
			return err
		}
		if fails {
			return rpc.Errorf(rpc.NotFound, "gone")
		}
		return nil
	})
	name := serveHere(t, s)
	const replies = "header h=1\nheader h=two words\ntrailer t=\"\\x1b[2J\"\n"
	for _, method := range []string{"unary", "flow"} {
		asked = nil
		code, out, errs := runHere(t, "", "call", "-v", "--meta", "k=a=b", "--meta", "k=", name, method, "false")
		if code != 0 || out != "5\n" || errs != replies {
			t.Errorf("%s: code %d\n%s%s", method, code, out, errs)
		}
		code, _, errs = runHere(t, "", "call", "--verbose", "--meta", "k=a=b", "--meta", "k=", name, method, "true")
		if code != exitFailed || errs != replies+"standpipe: call "+method+": NotFound: gone\n" {
			t.Errorf("%s: code %d\n%s", method, code, errs)
		}
		for _, md := range asked {
			if len(md["k"]) != 2 || md["k"][0] != "a=b" || md["k"][1] != "" {
				t.Errorf("%s: the server got %q", method, md)
			}
		}
		if len(asked) != 4 {
			t.Errorf("%s: %d calls", method, len(asked))
		}
	}
	for _, pair := range []string{"k", "=v", "K=v", "a b=v", "é=v", strings.Repeat("k", 65) + "=v"} {
		if code, _, errs := runHere(t, "", "call", "--meta", pair, name, "unary"); code != exitUsage || !strings.Contains(errs, "--meta") {
			t.Errorf("--meta %s: code %d, %s", pair, code, errs)
		}
	}
	if code, _, errs := runHere(t, "", "call", "--meta", "k="+strings.Repeat("v", 20<<10), name, "unary"); code != exitFailed {
		t.Errorf("a lot of metadata: code %d, %s", code, errs)
	}
}

// What a stream sends is printed when it comes, and what is typed is sent then: neither waits for the end of stdin.
func TestCallConversation(t *testing.T) {
	name := serveHere(t, newServer())
	in, typing := io.Pipe()
	seen, out := io.Pipe()
	code := make(chan int, 1)
	var errs strings.Builder
	go func() {
		code <- run(t.Context(), []string{"call", name, "words", "-"}, in, out, &errs)
		out.Close()
	}()
	dec := json.NewDecoder(seen)
	for _, word := range []string{"one", "two", "three"} {
		if _, err := io.WriteString(typing, `"`+word+`" `); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := dec.Decode(&got); err != nil || got != word {
			t.Errorf("%q, %v; not %q", got, err, word)
		}
	}
	typing.Close()
	if got := <-code; got != 0 || errs.String() != "" {
		t.Errorf("code %d, %s", got, errs.String())
	}
}

// A handler that ends does not wait for those who type.
func TestCallHandlerEnds(t *testing.T) {
	s := rpc.NewServer(nil)
	rpc.HandleStream(s, "short", func(_ context.Context, st *rpc.Stream[any, string]) error { return st.Send("all") })
	rpc.HandleStream(s, "broken", func(context.Context, *rpc.Stream[any, string]) error { return rpc.Errorf(rpc.Aborted, "enough") })
	name := serveHere(t, s)
	never, stop := io.Pipe()
	defer stop.Close()
	var out, errs strings.Builder
	if code := run(t.Context(), []string{"call", name, "short", "-"}, never, &out, &errs); code != 0 || out.String() != "\"all\"\n" {
		t.Errorf("code %d, %s%s", code, out.String(), errs.String())
	}
	if code := run(t.Context(), []string{"call", name, "broken", "-"}, never, &out, &errs); code != exitFailed || !strings.Contains(errs.String(), "call broken: Aborted: enough") {
		t.Errorf("code %d, %s%s", code, out.String(), errs.String())
	}
}

// A value that is too large for the server ends a stream, with the reason.
func TestCallTooLarge(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{MaxMessage: 64 << 10})
	rpc.HandleStream(s, "words", words)
	name := serveHere(t, s)
	code, _, errs := runHere(t, `"a" "`+strings.Repeat("b", 100<<10)+`"`, "call", name, "words", "-")
	if code != exitFailed || !strings.Contains(errs, "call words: ResourceExhausted") {
		t.Errorf("code %d, %s", code, errs)
	}
}

// What came is shown whatever it is; what is no value at all is an error.
func TestCallOddResults(t *testing.T) {
	s := rpc.NewServer(nil)
	rpc.Handle(s, "text", func(_ context.Context, in rpc.Raw) (rpc.Raw, error) {
		return rpc.Raw{Data: []byte("{ \"a\":\n1 }")}, nil
	})
	rpc.Handle(s, "nothing", func(_ context.Context, in rpc.Raw) (rpc.Raw, error) { return rpc.Raw{}, nil })
	name := serveHere(t, s)
	if code, out, errs := runHere(t, "", "call", name, "text"); code != 0 || out != "{\"a\":1}\n" {
		t.Errorf("code %d, %s%s", code, out, errs)
	}
	for _, args := range [][]string{{"nothing"}, {"--codec", "msgpack", "nothing"}, {"--codec", "msgpack", "text"}} {
		if code, out, errs := runHere(t, "", append([]string{"call", name}, args...)...); code != exitFailed || !strings.Contains(errs, "can't be shown") {
			t.Errorf("%q: code %d, %s%s", args, code, out, errs)
		}
	}
}

// A server's texts can't move the cursor.
func TestDescribePlain(t *testing.T) {
	s := rpc.NewServer(nil)
	rpc.Handle(s, "a\x1b[2J", func(context.Context, any) (any, error) { return nil, nil })
	s.Doc("a\x1b[2J", "two\x1b[2J\r\nlines")
	name := serveHere(t, s)
	code, out, errs := runHere(t, "", "describe", name)
	if code != 0 || out != "a\uFFFD[2J  unary\n    two\uFFFD[2J\n    lines\n    in   any\n    out  any\n" {
		t.Errorf("code %d, %q%s", code, out, errs)
	}
	if _, out, _ := runHere(t, "", "__complete", "call", name, ""); strings.Contains(out, "2J") {
		t.Errorf("completed: %q", out)
	}
}
