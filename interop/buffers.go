package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/rpc"
)

// The cases of buffers, and those in which somebody is killed.

func init() {
	cases = append(cases, []testCase{
		{"buffer", buffer}, {"buffer-reuse", bufferReuse}, {"buffer-huge", bufferHuge}, {"buffer-stream", bufferStream},
		{"killed-server", killedServer}, {"killed-client", killedClient}, {"idle", idle},
	}...)
}

// filled is a new buffer with the pattern.
func filled(ctx context.Context, p *rpc.Peer, n int) (blob, error) {
	b, err := p.NewBuffer(ctx, n)
	if err == nil {
		pattern(b.Bytes())
	}
	return blob{b}, err
}

// patterned fails where the buffer is not n bytes of the pattern.
func patterned(b msg.Buffer, n int) error {
	want := make([]byte, n)
	pattern(want)
	if !bytes.Equal(b.Bytes(), want) {
		return fmt.Errorf("a buffer of %d bytes does not have the %d bytes that it should", b.Len(), n)
	}
	return nil
}

// copies has n bytes copied by the server.
func copies(ctx context.Context, p *rpc.Peer, n int) error {
	in, err := filled(ctx, p, n)
	if err != nil {
		return err
	}
	out, err := rpc.Call[blob](ctx, p, "copy", in)
	if err != nil {
		return err
	}
	defer out.A.Release()
	return errors.Join(same("there is a buffer", out.A.Valid(), true), patterned(out.A, n))
}

func buffer(ctx context.Context, p *rpc.Peer) error {
	none, err := rpc.Call[blob](ctx, p, "copy", blob{})
	return errors.Join(err, same("none", none.A.Valid(), false), copies(ctx, p, 5), copies(ctx, p, 0))
}

func bufferReuse(ctx context.Context, p *rpc.Peer) error {
	for range 20 {
		if err := copies(ctx, p, 8e6); err != nil {
			return err
		}
	}
	return nil
}

const huge = 300e6

func bufferHuge(ctx context.Context, p *rpc.Peer) error {
	got, err := rpc.Call[blob](ctx, p, "make", size{huge})
	if err != nil {
		return err
	}
	err = patterned(got.A, huge)
	sum := crc32.ChecksumIEEE(got.A.Bytes())
	got.A.Release()
	in, failed := filled(ctx, p, huge)
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	checked, err := rpc.Call[checksum](ctx, p, "check", in)
	return errors.Join(err, same("check", checked, checksum{huge, sum}))
}

func bufferStream(ctx context.Context, p *rpc.Peer) error {
	st, err := rpc.Open[blob, blob](ctx, p, "swap")
	if err != nil {
		return err
	}
	defer st.Close()
	const first, last = 100000, 100010
	for n := first; n < last; n++ {
		in, err := filled(ctx, p, n)
		if err := errors.Join(err, st.Send(in)); err != nil {
			return err
		}
		out, err := st.Recv()
		if err := errors.Join(err, patterned(out.A, n)); err != nil {
			return err
		}
		out.A.Release()
	}
	err = st.CloseSend()
	_, end := st.Recv()
	return errors.Join(err, same("end", end, io.EOF))
}

// hold starts hang and flood, and tells the test when they run. The errors of both come.
func hold(ctx context.Context, p *rpc.Peer) (<-chan error, error) {
	st, err := rpc.Open[string, any](ctx, p, "flood")
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 2)
	go func() {
		var err error
		for err == nil {
			_, err = st.Recv()
		}
		ended <- err
	}()
	go func() {
		_, err := rpc.Call[any](ctx, p, "hang", any(nil))
		ended <- err
	}()
	err = awaitState(ctx, p, "both run", func(s state) bool { return s.Hanging >= 2 })
	os.Stdout.WriteString("holding\n")
	return ended, err
}

func killedServer(ctx context.Context, p *rpc.Peer) error {
	ended, err := hold(ctx, p)
	return errors.Join(err, code("first", <-ended, rpc.Unavailable), code("second", <-ended, rpc.Unavailable))
}

func killedClient(ctx context.Context, p *rpc.Peer) error {
	b, err := p.NewBuffer(ctx, huge)
	if err != nil {
		return err
	}
	pattern(b.Bytes()[:huge/2])
	if _, err := hold(ctx, p); err != nil {
		return err
	}
	<-ctx.Done()
	return errors.New("nobody has killed this client")
}
