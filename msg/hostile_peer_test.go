package msg_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/pipetest"
	"github.com/standpipe/standpipe/rpc"
)

// TestHostilePeer has a whole program for its victim: a server, or who dials one, that makes and serves calls and streams.
func TestHostilePeer(t *testing.T) {
	if aside(t) {
		return
	}
	name := pipetest.Name(t)
	log := slog.New(&panicLog{t: t})
	peers := make(chan *rpc.Peer, 1)
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(&rpc.ServerConfig{Log: log, Drain: -1, Ring: msg.RingOn, MaxShared: 8 << 20, Wrap: []rpc.Interceptor{
		func(ctx context.Context, _ *rpc.CallInfo, next func(context.Context) error) error {
			select {
			case peers <- rpc.PeerFrom(ctx):
			default:
			}
			return next(ctx)
		}}})
	addMethods(server)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, ln) }()
	hostileRounds(t, func(t *testing.T, rnd *rand.Rand) {
		for len(peers) > 0 {
			<-peers
		}
		own := rpc.NewServer(&rpc.ServerConfig{Log: log})
		addMethods(own)
		dialed, err := rpc.Dial(t.Context(), name, &rpc.DialConfig{Log: log, Server: own, Ring: msg.RingOn, MaxShared: 8 << 20})
		if err != nil {
			t.Fatal(err)
		}
		one := pester(dialed, rnd.Uint64())
		accepted := <-peers
		for accepted.Err() != nil { // of the connection before
			accepted = <-peers
		}
		two := pester(accepted, rnd.Uint64())
		evil, victim, its, ours := dialed, accepted, one, two
		if rnd.IntN(2) == 0 {
			evil, victim, its, ours = accepted, dialed, two, one
		}
		ch := msg.ChannelIn(evil)
		awaitRing(t, ch)
		s := &scribbler{rnd: rnd, evil: ch, mood: moodOf(rnd)}
		time.AfterFunc(time.Duration(rnd.IntN(30000))*time.Microsecond, func() { s.done.Store(true) })
		s.run()
		hostileEnd(rnd, ch, victim)
		within(t, 5*time.Second, "the victim's calls go on without its peer", ours)
		within(t, 5*time.Second, "the victim goes on without its peer", victim.Done())
		if err := victim.Err(); !anEnd(err) {
			t.Errorf("the victim ended with %T %v", err, err)
		}
		ch.Conn().Close()
		within(t, 5*time.Second, "the hostile side does not end", finally(func() { evil.Close(); <-its; <-evil.Done() }))
		victim.Close()
	})
	cancel()
	within(t, 10*time.Second, "Serve does not return", finally(func() {
		if err := <-served; err != nil {
			t.Error(err)
		}
	}))
}

// panicLog fails the test where a handler has panicked; the rest of what is said is of no interest.
type panicLog struct{ t *testing.T }

func (p *panicLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (p *panicLog) WithAttrs([]slog.Attr) slog.Handler               { return p }
func (p *panicLog) WithGroup(string) slog.Handler                    { return p }
func (p *panicLog) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "panic") {
		text := r.Message
		r.Attrs(func(a slog.Attr) bool { text += "\n" + a.String(); return true })
		p.t.Error(text)
	}
	return nil
}

type blob struct{ Data msg.Buffer }

// addMethods adds what both sides serve. What comes is looked at and not believed.
func addMethods(s *rpc.Server) {
	rpc.Handle(s, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	rpc.Handle(s, "invert", func(ctx context.Context, in blob) (blob, error) {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		out, err := rpc.PeerFrom(ctx).NewBuffer(ctx, in.Data.Len())
		if err != nil {
			return blob{}, err
		}
		for i, c := range in.Data.Bytes() {
			out.Bytes()[i] = ^c
		}
		return blob{out}, nil
	})
	rpc.HandleStream(s, "pour", func(_ context.Context, st *rpc.Stream[int, []byte]) error {
		for {
			if err := st.Send(make([]byte, 20000)); err != nil {
				return err
			}
		}
	})
	rpc.HandleStream(s, "take", func(_ context.Context, st *rpc.Stream[blob, int]) error {
		for {
			b, err := st.Recv()
			if err != nil {
				return err
			}
			b.Data.Release()
		}
	})
}

// pester calls p and reads and writes streams, each for a short while, until p ends. What it returns is closed when all of it has.
func pester(p *rpc.Peer, seed uint64) <-chan struct{} {
	var wg sync.WaitGroup
	for k, job := range []func(ctx context.Context, rnd *rand.Rand){
		func(ctx context.Context, rnd *rand.Rand) {
			rpc.Call[[]byte](ctx, p, "echo", make([]byte, rnd.IntN(1<<rnd.IntN(17))))
		},
		func(ctx context.Context, rnd *rand.Rand) { rpc.Call[[]byte](ctx, p, "echo", []byte("small")) },
		func(ctx context.Context, rnd *rand.Rand) {
			b, err := p.NewBuffer(ctx, 1<<(12+rnd.IntN(6)))
			if err != nil {
				return
			}
			defer b.Release()
			if out, err := rpc.Call[blob](ctx, p, "invert", blob{b}); err == nil {
				look(out.Data.Bytes())
				out.Data.Release()
			}
		},
		func(ctx context.Context, _ *rand.Rand) {
			st, err := rpc.Open[[]byte, int](ctx, p, "pour")
			for err == nil {
				_, err = st.Recv()
			}
		},
		func(ctx context.Context, _ *rand.Rand) {
			st, err := rpc.Open[int, blob](ctx, p, "take")
			for err == nil {
				var b msg.Buffer
				if b, err = p.NewBuffer(ctx, 50000); err == nil {
					err = st.Send(blob{b})
					b.Release()
				}
			}
		},
	} {
		wg.Go(func() {
			for rnd := rand.New(rand.NewPCG(seed, uint64(k))); p.Err() == nil; {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+rnd.IntN(20))*time.Millisecond)
				job(ctx, rnd)
				cancel()
			}
		})
	}
	return finally(wg.Wait)
}

func look(b []byte) (sum int) {
	for _, c := range b {
		sum += int(c)
	}
	return sum
}
