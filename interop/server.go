package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/rpc"
)

// The values of the methods.
type (
	pair struct {
		A int64 `json:"a"`
		B int64 `json:"b"`
	}
	total struct {
		Sum int64 `json:"sum"`
	}
	failure struct {
		Code    rpc.Code `json:"code"`
		Message string   `json:"message"`
		Details []detail `json:"details"`
	}
	detail struct {
		Type string `json:"type"`
		Data []byte `json:"data"`
	}
	pause struct {
		MS int64 `json:"ms"`
	}
	state struct {
		Hanging   int64 `json:"hanging"`
		Cancelled int64 `json:"cancelled"`
	}
	caller struct {
		PID  int    `json:"pid"`
		User string `json:"user"`
	}
	size struct {
		Size int64 `json:"size"`
	}
	blob struct {
		A msg.Buffer `json:"a"`
	}
	checksum struct {
		Size int64  `json:"size"`
		CRC  uint32 `json:"crc"`
	}
	upTo struct {
		To int64 `json:"to"`
	}
	after struct {
		After int64 `json:"after"`
	}
)

const (
	maxCalls  = 32
	drainTime = 10 * time.Second
)

// A server serves the methods of spec/interop.md.
type server struct {
	hanging, cancelled atomic.Int64
	drain              context.CancelFunc
}

func serve(name string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := &server{drain: cancel}
	r := rpc.NewServer(&rpc.ServerConfig{MaxCalls: maxCalls, Drain: drainTime, Log: slog.New(slog.DiscardHandler)})
	s.calls(r)
	s.buffers(r)
	s.streams(r)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		return err
	}
	go func() {
		untilEOF()
		cancel()
	}()
	fmt.Println("ready")
	return r.Serve(ctx, ln)
}

func (s *server) calls(r *rpc.Server) {
	rpc.Handle(r, "echo", func(_ context.Context, v rpc.Raw) (rpc.Raw, error) { return v, nil })
	rpc.Handle(r, "add", func(_ context.Context, in pair) (total, error) { return total{in.A + in.B}, nil })
	rpc.Handle(r, "fail", func(_ context.Context, in failure) (any, error) {
		e := rpc.Errorf(in.Code, "%s", in.Message)
		for _, d := range in.Details {
			e.Details = append(e.Details, rpc.Detail{Type: d.Type, Value: d.Data})
		}
		return nil, e
	})
	rpc.Handle(r, "crash", func(context.Context, any) (any, error) { panic("secret") })
	rpc.Handle(r, "hang", func(ctx context.Context, _ any) (any, error) {
		s.hanging.Add(1)
		<-ctx.Done()
		s.gone()
		return nil, ctx.Err()
	})
	rpc.Handle(r, "slow", func(_ context.Context, in pause) (int64, error) {
		time.Sleep(time.Duration(in.MS) * time.Millisecond)
		return in.MS, nil
	})
	rpc.Handle(r, "state", func(context.Context, any) (state, error) { return state{s.hanging.Load(), s.cancelled.Load()}, nil })
	rpc.Handle(r, "left", func(ctx context.Context, _ any) (int64, error) {
		if end, limited := ctx.Deadline(); limited {
			return time.Until(end).Milliseconds(), nil
		}
		return -1, nil
	})
	rpc.Handle(r, "meta", func(ctx context.Context, _ any) (map[string][]string, error) {
		err := errors.Join(rpc.SetHeader(ctx, rpc.Metadata{"place": {"header"}}), rpc.SetTrailer(ctx, rpc.Metadata{"place": {"trailer"}}))
		return rpc.MetadataFrom(ctx), err
	})
	rpc.Handle(r, "who", func(ctx context.Context, _ any) (caller, error) {
		id := rpc.PeerFrom(ctx).Identity()
		return caller{id.PID, id.User}, nil
	})
	rpc.Handle(r, "back", func(ctx context.Context, _ any) (string, error) {
		name, err := rpc.Call[string](ctx, rpc.PeerFrom(ctx), "name", any(nil))
		return "hello " + name, err
	})
	rpc.Handle(r, "bytes", func(_ context.Context, in size) ([]byte, error) { return make([]byte, in.Size), nil })
	rpc.Handle(r, "drain", func(context.Context, any) (any, error) {
		time.AfterFunc(50*time.Millisecond, s.drain) // the answer first
		return nil, nil
	})
}

func (s *server) gone() {
	s.cancelled.Add(1)
	s.hanging.Add(-1)
}

func (s *server) buffers(r *rpc.Server) {
	rpc.Handle(r, "make", func(ctx context.Context, in size) (blob, error) {
		b, err := rpc.PeerFrom(ctx).NewBuffer(ctx, int(in.Size))
		if err == nil {
			pattern(b.Bytes())
		}
		return blob{b}, err
	})
	rpc.Handle(r, "check", func(_ context.Context, in blob) (checksum, error) {
		return checksum{int64(in.A.Len()), crc32.ChecksumIEEE(in.A.Bytes())}, nil
	})
	rpc.Handle(r, "copy", func(ctx context.Context, in blob) (blob, error) { return duplicate(ctx, rpc.PeerFrom(ctx), in) })
}

func duplicate(ctx context.Context, p *rpc.Peer, in blob) (blob, error) {
	if !in.A.Valid() {
		return blob{}, nil
	}
	b, err := p.NewBuffer(ctx, in.A.Len())
	if err == nil {
		b.Copy(in.A.Bytes())
	}
	return blob{b}, err
}

// pattern fills p: byte number i is i mod 251.
func pattern(p []byte) {
	const period = 251
	for i := range min(period, len(p)) {
		p[i] = byte(i)
	}
	for n := period; n < len(p); n *= 2 {
		copy(p[n:], p[:n])
	}
}

func (s *server) streams(r *rpc.Server) {
	rpc.HandleStream(r, "count", func(_ context.Context, st *rpc.Stream[upTo, int64]) error {
		in, err := st.Recv()
		return errors.Join(err, numbers(st, in.To))
	})
	rpc.HandleStream(r, "sum", func(_ context.Context, st *rpc.Stream[int64, int64]) error {
		var total int64
		for n, err := range st.All() {
			if err != nil {
				return err
			}
			total += n
		}
		return st.Send(total)
	})
	rpc.HandleStream(r, "each", func(_ context.Context, st *rpc.Stream[rpc.Raw, rpc.Raw]) error { return each(st) })
	rpc.HandleStream(r, "speak", func(_ context.Context, st *rpc.Stream[any, any]) error {
		if err := st.Send("first"); err != nil {
			return err
		}
		return each(st)
	})
	rpc.HandleStream(r, "broken", func(_ context.Context, st *rpc.Stream[after, int64]) error {
		in, err := st.Recv()
		if err := errors.Join(err, numbers(st, in.After)); err != nil {
			return err
		}
		return rpc.Errorf(rpc.DataLoss, "broken off")
	})
	rpc.HandleStream(r, "flood", func(_ context.Context, st *rpc.Stream[any, string]) error {
		s.hanging.Add(1)
		defer s.gone()
		for i := 0; ; i++ {
			number := fmt.Sprint(i)
			if err := st.Send(number + strings.Repeat(" ", 1000-len(number))); err != nil {
				return err
			}
		}
	})
	rpc.HandleStream(r, "swap", func(ctx context.Context, st *rpc.Stream[blob, blob]) error {
		for in, err := range st.All() {
			if err != nil {
				return err
			}
			out, err := duplicate(ctx, rpc.PeerFrom(ctx), in)
			if err := errors.Join(err, st.Send(out)); err != nil {
				return err
			}
		}
		return nil
	})
}

// numbers sends 0 to n-1.
func numbers[In any](st *rpc.Stream[In, int64], n int64) error {
	for i := range n {
		if err := st.Send(i); err != nil {
			return err
		}
	}
	return nil
}

// each sends back what comes.
func each[T any](st *rpc.Stream[T, T]) error {
	for {
		v, err := st.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := st.Send(v); err != nil {
			return err
		}
	}
}
