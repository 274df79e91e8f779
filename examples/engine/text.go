package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/rpc"
)

// vectors is a float32 matrix, a row for each text.
type vectors struct {
	Shape []int      `json:"shape"`
	Data  msg.Buffer `json:"data"`
}

// embed prints how near each text is to the first one: 1 is the same, 0 is unrelated.
func embed(ctx context.Context, p *rpc.Peer, texts []string, out io.Writer) error {
	v, err := rpc.Call[vectors](ctx, p, "embed", texts)
	if err != nil {
		return err
	}
	defer v.Data.Release()
	if len(v.Shape) != 2 || v.Shape[0] != len(texts) || v.Shape[1] < 1 || v.Shape[1] > v.Data.Len()/4/len(texts) {
		return fmt.Errorf("the engine answered with %d bytes of the shape %v", v.Data.Len(), v.Shape)
	}
	for i, text := range texts {
		fmt.Fprintf(out, "%5.2f  %s\n", dot(v.Data.Bytes(), 0, i, v.Shape[1]), text)
	}
	return nil
}

// dot is the product of the rows i and j of a matrix with n columns.
func dot(matrix []byte, i, j, n int) (sum float64) {
	at := func(row, column int) float64 {
		return float64(math.Float32frombits(binary.NativeEndian.Uint32(matrix[4*(row*n+column):])))
	}
	for k := range n {
		sum += at(i, k) * at(j, k)
	}
	return sum
}

type prompt struct {
	Text        string  `json:"text"`
	Limit       int     `json:"limit"`
	Temperature float64 `json:"temperature"`
	Seed        int64   `json:"seed"`
}

// generate prints the answer's pieces as they come. When ctx ends the engine stops to compute, too.
func generate(ctx context.Context, p *rpc.Peer, in prompt, out io.Writer) error {
	began := time.Now()
	st, err := rpc.Open[string, prompt](ctx, p, "generate")
	if err != nil {
		return err
	}
	defer st.Close()
	if err := errors.Join(st.Send(in), st.CloseSend()); err != nil {
		return err
	}
	n := 0
	for piece, err := range st.All() {
		if errors.Is(err, context.Canceled) {
			fmt.Fprintln(out, " ... cancelled")
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprint(out, piece)
		n++
	}
	fmt.Fprintf(out, "\n(%d pieces, %.1f a second)\n", n, float64(n)/time.Since(began).Seconds())
	return nil
}
