package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/draw"
	_ "image/gif"
	_ "image/jpeg"
	_ "image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/rpc"
)

// tensor is an array of numbers of one type, whose last dimension is called channels.
type tensor struct {
	Shape []int      `json:"shape"`
	Type  string     `json:"type"`
	Data  msg.Buffer `json:"data"`
}

// statistics has an element for each channel.
type statistics struct {
	Least     []float64 `json:"least"`
	Most      []float64 `json:"most"`
	Mean      []float64 `json:"mean"`
	Deviation []float64 `json:"deviation"`
}

// describeImage decodes a picture into memory that the engine sees, too.
func describeImage(ctx context.Context, p *rpc.Peer, file string, out io.Writer) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	picture, format, err := image.Decode(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	const channels = 4
	size := picture.Bounds().Size()
	b, err := p.NewBuffer(ctx, channels*size.X*size.Y)
	if err != nil {
		return err
	}
	pixels := &image.NRGBA{Pix: b.Bytes(), Stride: channels * size.X, Rect: image.Rectangle{Max: size}}
	draw.Draw(pixels, pixels.Rect, picture, picture.Bounds().Min, draw.Src)
	fmt.Fprintf(out, "%s, %d x %d\n", format, size.X, size.Y)
	return describe(ctx, p, tensor{[]int{size.Y, size.X, channels}, "uint8", b}, []string{"red", "green", "blue", "alpha"}, out)
}

// describeRandom makes numbers of a normal distribution, with the mean 1 and the deviation 2, in memory that the engine sees, too.
func describeRandom(ctx context.Context, p *rpc.Peer, megabytes int, out io.Writer) error {
	n := megabytes << 20
	b, err := p.NewBuffer(ctx, n)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < n; i += 4 {
		binary.NativeEndian.PutUint32(b.Bytes()[i:], math.Float32bits(float32(1+2*random.NormFloat64())))
	}
	return describe(ctx, p, tensor{[]int{n / 4, 1}, "float32", b}, []string{"numbers"}, out)
}

// describe sends a tensor, whose memory is the engine's from then on, and prints what the engine says of it.
func describe(ctx context.Context, p *rpc.Peer, t tensor, channels []string, out io.Writer) error {
	began, size := time.Now(), t.Data.Len()
	s, err := rpc.Call[statistics](ctx, p, "statistics", t)
	if err != nil {
		return err
	}
	if n := len(channels); len(s.Least) != n || len(s.Most) != n || len(s.Mean) != n || len(s.Deviation) != n {
		return fmt.Errorf("the engine answered with statistics of %d channels instead of %d", len(s.Mean), n)
	}
	for i, channel := range channels {
		fmt.Fprintf(out, "%-8s %8.3f to %8.3f, mean %8.3f, deviation %8.3f\n", channel, s.Least[i], s.Most[i], s.Mean[i], s.Deviation[i])
	}
	fmt.Fprintf(out, "(%d bytes there, and the answer back, in %v)\n", size, time.Since(began).Round(100*time.Microsecond))
	return nil
}
