package rpc_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/rpc"
)

// pixel is as if code had been generated for it: a map of two integers.
type pixel struct {
	X int32 `json:"x" msg:"x"`
	Y int32 `json:"y" msg:"y"`

	calls int // of its methods, since it was made
}

func (p *pixel) MarshalMsg(b []byte) ([]byte, error) {
	p.calls++
	if p.X < 0 {
		return append(b, 0x81), errors.New("x is negative")
	}
	b = append(b, 0x82, 0xa1, 'x', 0xd2)
	b = binary.BigEndian.AppendUint32(b, uint32(p.X))
	b = append(b, 0xa1, 'y', 0xd2)
	return binary.BigEndian.AppendUint32(b, uint32(p.Y)), nil
}

func (p *pixel) UnmarshalMsg(b []byte) ([]byte, error) {
	p.calls++
	if !bytes.HasPrefix(b, []byte{0x82, 0xa1, 'x', 0xd2}) || len(b) < 15 {
		return b, errors.New("it is no pixel")
	}
	p.X = int32(binary.BigEndian.Uint32(b[4:]))
	p.Y = int32(binary.BigEndian.Uint32(b[11:]))
	return b[15:], nil
}

// Types with methods of their own are encoded and decoded by those; what comes is looked over before.
func TestGenerated(t *testing.T) {
	in := &pixel{X: 1, Y: 2}
	b, err := rpc.MessagePack.Append([]byte{7}, in)
	if err != nil || in.calls != 1 || len(b) != 16 || b[0] != 7 {
		t.Fatalf("% x, %v, %d calls", b, err, in.calls)
	}
	b = b[1:]
	var same struct{ X, Y int32 }
	if err := rpc.MessagePack.Unmarshal(b, &same); err == nil && same.X == 1 {
		t.Fatal("names are not told apart by case")
	}
	var m map[string]int
	if err := rpc.MessagePack.Unmarshal(b, &m); err != nil || m["x"] != 1 || m["y"] != 2 {
		t.Fatal(m, err)
	}
	var out pixel
	if err := rpc.MessagePack.Unmarshal(b, &out); err != nil || out != (pixel{1, 2, 1}) {
		t.Fatal(out, err)
	}
	if b, err := rpc.MessagePack.Append([]byte{7}, &pixel{X: -1}); err == nil || len(b) != 1 {
		t.Fatalf("% x, %v", b, err)
	}
	if b, err := rpc.MessagePack.Append(nil, (*pixel)(nil)); err != nil || !bytes.Equal(b, []byte{0xc0}) {
		t.Fatalf("% x, %v", b, err)
	}
	for what, bad := range map[string][]byte{
		"cut":       b[:14],
		"followed":  append(bytes.Clone(b), 0xc0),
		"deep":      append(bytes.Repeat([]byte{0x91}, 200), 0xc0),
		"too many":  {0xdd, 0xff, 0xff, 0xff, 0xff},
		"no string": {0xdb, 0xff, 0xff, 0xff, 0xff, 'x'},
	} {
		out := pixel{}
		if err := rpc.MessagePack.Unmarshal(bad, &out); err == nil || out.calls != 0 {
			t.Error(what, err, out.calls)
		}
	}
	// A whole value, of which the method takes a part only.
	if err := rpc.MessagePack.Unmarshal([]byte{0x82, 0xa1, 'x', 0xd2, 0, 0, 0, 1, 0xa1, 'y', 0x92, 0xd2, 0, 0, 0, 1, 0xc0}, &out); err == nil || !strings.Contains(err.Error(), "left") {
		t.Error(err)
	}
}

func TestGeneratedCall(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "swap", func(_ context.Context, p pixel) (pixel, error) {
		if p.calls != 1 {
			return p, rpc.Errorf(rpc.Internal, "decoded by %d calls", p.calls)
		}
		return pixel{X: p.Y, Y: p.X}, nil
	})
	serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		if out, err := rpc.Call[pixel](t.Context(), p, "swap", pixel{X: 1, Y: 2}); err != nil || out != (pixel{2, 1, 1}) {
			t.Error(out, err)
		}
		if _, err := rpc.Call[pixel](t.Context(), p, "swap", pixel{X: -1}); rpc.CodeOf(err) != rpc.InvalidArgument {
			t.Error(err)
		}
		if _, err := rpc.Call[pixel](t.Context(), p, "swap", pixel{X: 1, Y: -1}); rpc.CodeOf(err) != rpc.Internal {
			t.Error(err)
		}
		if _, err := rpc.Call[pixel](t.Context(), p, "swap", map[string]string{"x": "y"}); rpc.CodeOf(err) != rpc.InvalidArgument {
			t.Error(err)
		}
	})
}
