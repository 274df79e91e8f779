package rpc_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/rpc"
)

const killEnv = "STANDPIPE_KILL_CHILD"

type killBlob struct{ Data msg.Buffer }

// killServer is what both sides serve: calls, and streams that never end by themselves.
func killServer() *rpc.Server {
	s := rpc.NewServer(&rpc.ServerConfig{Log: slog.New(slog.DiscardHandler)})
	rpc.Handle(s, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	rpc.Handle(s, "hang", func(ctx context.Context, _ int) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	})
	rpc.Handle(s, "invert", func(ctx context.Context, in killBlob) (killBlob, error) {
		out, err := rpc.PeerFrom(ctx).NewBuffer(ctx, in.Data.Len())
		if err != nil {
			return killBlob{}, err
		}
		for i, c := range in.Data.Bytes() {
			out.Bytes()[i] = ^c
		}
		return killBlob{out}, nil
	})
	rpc.HandleStream(s, "pour", func(_ context.Context, st *rpc.Stream[int, []byte]) error {
		for {
			if err := st.Send(make([]byte, 50000)); err != nil {
				return err
			}
		}
	})
	return s
}

func init() {
	if arg := os.Getenv(killEnv); arg != "" {
		if err := killChild(arg); err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
		}
		os.Exit(1)
	}
}

// killChild serves, or dials and calls, until it is killed. The name of its role is in front of that of the endpoint.
func killChild(arg string) error {
	role, name := arg[:1], arg[1:]
	if role == "s" {
		ln, err := standpipe.Listen(name, nil)
		if err != nil {
			return err
		}
		os.Stdout.WriteString("ready\n")
		return killServer().Serve(context.Background(), ln)
	}
	p, err := rpc.Dial(context.Background(), name, &rpc.DialConfig{Server: killServer()})
	if err != nil {
		return err
	}
	os.Stdout.WriteString("ready\n")
	load(p)
	<-p.Done()
	return nil
}

// load calls p and reads and writes streams, until p ends. What it returns is closed when all of it has.
func load(p *rpc.Peer) <-chan struct{} {
	var wg sync.WaitGroup
	ctx := context.Background()
	for k := range 4 {
		wg.Go(func() {
			for {
				if _, err := rpc.Call[[]byte](ctx, p, "echo", make([]byte, 1<<(4*k+4))); err != nil {
					return
				}
			}
		})
	}
	for k := range 2 { // in memory that both see
		wg.Go(func() {
			for {
				b, err := p.NewBuffer(ctx, 1<<(4*k+15))
				if err != nil {
					return
				}
				n, at := b.Len(), b.Len()/3
				b.Bytes()[at] = byte(at)
				out, err := rpc.Call[killBlob](ctx, p, "invert", killBlob{b})
				b.Release() // where it was not sent
				if err != nil {
					return
				}
				if out.Data.Len() != n || out.Data.Bytes()[at] != ^byte(at) {
					panic("other bytes came back")
				}
				out.Data.Release()
			}
		})
	}
	wg.Go(func() { rpc.Call[int](ctx, p, "hang", 1) })
	wg.Go(func() {
		st, err := rpc.Open[[]byte, int](ctx, p, "pour")
		for err == nil {
			_, err = st.Recv()
		}
	})
	wg.Go(func() { // nobody reads these
		st, err := rpc.Open[[]byte, int](ctx, p, "pour")
		for err == nil {
			err = st.Send(1)
		}
	})
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	return done
}

func startKillChild(t *testing.T, arg string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killEnv+"="+arg)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	go io.Copy(io.Discard, out)
	return cmd
}

// kills is how many processes each of these tests kills: half of STANDPIPE_KILLS.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("STANDPIPE_KILLS")); err == nil {
		return n / 2
	}
	return fewKills
}

// underWay kills the child at a random point of what goes on.
func underWay(t *testing.T, rnd *rand.Rand, child *exec.Cmd, w *watch) {
	t.Helper()
	time.Sleep(time.Duration(rnd.IntN(40000)) * time.Microsecond)
	w.note()
	kill(t, child)
}

// A server is killed while calls and streams go both ways: everybody who waits hears of it within a second, and the name can be
// served again at once. No memory stays that both have seen.
func TestKilledServer(t *testing.T) {
	if aside(t) {
		return
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	w := newWatch(t)
	name := freshName()
	for range kills() {
		child := startKillChild(t, "s"+name)
		p, err := rpc.Dial(t.Context(), name, &rpc.DialConfig{Server: killServer(), Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		done := load(p)
		underWay(t, rnd, child, w)
		hears(t, p, done)
	}
	w.end()
}

// The same the other way round: the server survives its clients.
func TestKilledClient(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	w := newWatch(t)
	name := freshName()
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	peers := make(chan *rpc.Peer, 1)
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, Wrap: []rpc.Interceptor{
		func(ctx context.Context, call *rpc.CallInfo, next func(context.Context) error) error {
			select {
			case peers <- rpc.PeerFrom(ctx):
			default:
			}
			return next(ctx)
		}}})
	rpc.Handle(s, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	for range kills() {
		child := startKillChild(t, "c"+name)
		var p *rpc.Peer
		select {
		case p = <-peers:
		case <-time.After(10 * time.Second):
			t.Fatal("the child does not call")
		}
		if p.Err() != nil { // one of the last child's
			p = <-peers
		}
		done := load(p)
		underWay(t, rnd, child, w)
		hears(t, p, done)
	}
	w.end()
}

func kill(t *testing.T, child *exec.Cmd) {
	t.Helper()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait()
}

func hears(t *testing.T, p *rpc.Peer, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(time.Second):
		t.Fatal("somebody still waits, a second after the other side was killed")
	}
	select {
	case <-p.Done():
	case <-time.After(time.Second):
		t.Fatal("the peer does not end")
	}
	p.Close()
}
