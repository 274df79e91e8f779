package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

func newReplay() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay FILE [TARGET]",
		Short: "Send a server again what clients sent it in a trace, and compare its answers",
		Long: `replay connects to the server of a trace, or to TARGET, which is what relay takes, as often as clients did, and sends what they sent, at the same
pace, but nothing before as many answers have come as had then. It prints what is answered otherwise than it was.

What went through shared memory is not in a trace: record it with trace --no-share.`,
		Args: arguments(1, 2, "FILE [TARGET]"),
	}
	opts := relayFlags(cmd)
	flags := cmd.Flags()
	speed := flags.Float64("speed", 1, "how many times as fast as it was; 0: without pauses")
	patience := flags.Duration("patience", 2*time.Second, "how long the server may be silent where it had answered")
	check := flags.Bool("check", false, "end with code 1 where something is answered otherwise")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := opts()
		if err != nil {
			return err
		}
		if *speed < 0 {
			return usagef("--speed is %v; it must not be below 0", *speed)
		}
		f, err := openTrace(args[0], o.in)
		if err != nil {
			return err
		}
		target, list, err := loadPlayed(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if len(args) == 2 {
			target = args[1]
		}
		to, err := parsePlace(target, false)
		if err != nil {
			return err
		}
		if to.kind == kindStdio {
			return usagef("stdio is no server")
		}
		r := &replay{opts: o, to: to, speed: *speed, patience: *patience, check: *check}
		return r.run(cmd.Context(), list)
	}
	return cmd
}

// replay plays a trace's clients.
type replay struct {
	opts     *relayOptions
	to       place
	gate     *gate
	speed    float64
	patience time.Duration
	check    bool
}

func (r *replay) run(ctx context.Context, list []*played) (err error) {
	if r.gate, err = newGate(r.to, r.opts); err != nil {
		return err
	}
	defer r.gate.close()
	var playing sync.WaitGroup
	errs := make([]error, len(list))
	texts := make([]string, len(list))
	start := time.Now()
	for i, before := range list {
		if before.shared {
			errs[i] = fmt.Errorf("#%d can't be played: its client used shared memory, which is not in the trace; record it with trace --no-share", before.conn)
			continue
		}
		if errs[i] = r.until(ctx, start, before.began-list[0].began); errs[i] != nil {
			break
		}
		playing.Go(func() { texts[i], errs[i] = r.play(ctx, before) })
	}
	playing.Wait()
	for _, text := range texts {
		if _, wrong := io.WriteString(r.opts.out, text); wrong != nil {
			return wrong
		}
	}
	return errors.Join(errs...)
}

// until waits until it is as long since start as it was then, by the speed that is asked for.
func (r *replay) until(ctx context.Context, start time.Time, ns int64) error {
	if r.speed == 0 {
		return context.Cause(ctx)
	}
	select {
	case <-time.After(time.Until(start.Add(time.Duration(float64(ns) / r.speed)))):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// player plays one connection.
type player struct {
	r       *replay
	before  *played
	side    *side
	mu      sync.Mutex
	now     *played
	heard   chan struct{} // something came
	stopped chan struct{} // nothing comes any more
}

// play plays one client, and says what was otherwise.
func (r *replay) play(ctx context.Context, before *played) (string, error) {
	s, err := r.gate.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.greet(ctx); err != nil {
		return "", err
	}
	p := &player{r: r, before: before, side: s, now: newPlayed(before.conn), heard: make(chan struct{}, 1), stopped: make(chan struct{})}
	go p.receive()
	sent, err := p.send(ctx)
	if err == nil {
		err = p.finish(ctx)
	}
	s.Close()
	<-p.stopped
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return p.report(sent, err)
}

func (p *player) receive() {
	defer close(p.stopped)
	buf := make([]byte, relayChunk)
	for {
		n, err := p.side.Read(buf)
		if n > 0 {
			p.take(&record{What: recBytes, Way: toClient, Bytes: buf[:n]})
			select {
			case p.heard <- struct{}{}:
			default:
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *player) take(rec *record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.take(rec)
}

// send sends all that the client sent, and returns how many bytes that was. A server that ends before is no error here: what it did not answer is
// seen in the end.
func (p *player) send(ctx context.Context) (sent int, err error) {
	var hide hider
	start := time.Now()
	for _, step := range p.before.steps {
		if err := p.r.until(ctx, start, step.at-p.before.began); err != nil {
			return sent, err
		}
		if err := p.wait(ctx, step.after); err != nil {
			return sent, err
		}
		p.take(&record{What: recBytes, Way: toServer, Bytes: step.bytes})
		b := slices.Clone(step.bytes)
		hide.hide(b)
		if _, err := p.side.Write(b); err != nil {
			return sent, nil
		}
		sent += len(b)
	}
	return sent, nil
}

// wait waits until the server has come as far as it had then, or has been silent for --patience, or has ended.
func (p *player) wait(ctx context.Context, want standing) error {
	for {
		p.mu.Lock()
		there := p.now.got.reached(want, p.before.calls)
		p.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-p.heard:
		case <-p.stopped:
			return nil
		case <-time.After(p.r.patience):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// finish ends as the client did, and takes what still comes.
func (p *player) finish(ctx context.Context) error {
	if !p.before.calls && p.before.ended {
		p.side.CloseWrite() // where there is no such thing, the server has to do without
	}
	if err := p.wait(ctx, p.before.got); err != nil || p.before.calls || !p.before.over {
		return err
	}
	return p.wait(ctx, standing{bytes: math.MaxUint64}) // until it ends
}

// report is what is printed for a connection.
func (p *player) report(sent int, err error) (string, error) {
	differ := differences(p.before, p.now)
	text := fmt.Sprintf("#%d: sent %s, got %s: ", p.before.conn, byteText(uint64(sent)), byteText(p.now.got.bytes))
	switch n := len(p.before.answers); {
	case p.before.calls:
		text += fmt.Sprintf("%d of %d calls went as they did\n", n-len(differ), n)
	case len(differ) == 0:
		text += "the same bytes as then\n"
	default:
		text += "other bytes than then\n"
	}
	for _, line := range differ {
		text += "  " + line + "\n"
	}
	if err == nil && p.r.check && len(differ) > 0 {
		err = fmt.Errorf("#%d was answered otherwise than in the trace", p.before.conn)
	}
	return text, err
}
