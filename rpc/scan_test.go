package rpc

import (
	"runtime"
	"strings"
	"testing"
)

func TestScan(t *testing.T) {
	for _, s := range []string{"", "\xc1", "\xa2h", "\xa2hi\xa2hi", "\x91", "\x81\xa1k", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff",
		"\xc6\xff\xff\xff\xff", "\xdb\xff\xff\xff\xffx", "\xc9\xff\xff\xff\xff", "\xca\x00", "\xd8\x00", "\xdc\x00",
		strings.Repeat("\x91", maxDepth+1) + "\xc0", "\x81\xa1z" + strings.Repeat("\x91", 8<<20) + "\xc0"} {
		if scan([]byte(s)) == nil {
			t.Errorf("%.10q passes", s)
		}
	}
	if err := scan([]byte(strings.Repeat("\x91", maxDepth) + "\xc0")); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	for _, v := range []any{nil, true, 1, -1, 200, 1 << 20, 1 << 40, -1 << 40, 1.5, float32(1), "x", strings.Repeat("y", 40),
		strings.Repeat("y", 300), strings.Repeat("y", 70000), []int{1, 2, 3}, make([]int, 20), make([]int, 70000), []byte("b"),
		make([]byte, 300), make([]byte, 70000), map[string]any{"a": []byte("b"), "c": 1.5, "d": nil}} {
		b, err := MessagePack.Append(nil, v)
		if err == nil {
			err = scan(b)
		}
		if err != nil {
			t.Errorf("%T: %v", v, err)
		}
	}
}

// A few bytes must not make the decoder take megabytes, nor recurse until the stack ends, whatever they are decoded into.
func TestHostileValues(t *testing.T) {
	claims := []string{"\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff", strings.Repeat("\xdf\xff\xff\xff\xff", 120),
		"\x81\xa1z" + strings.Repeat("\x91", 8<<20) + "\xc0"}
	for _, s := range claims {
		for _, into := range []func() any{
			func() any { return new(any) }, func() any { return new(string) }, func() any { return new([]byte) },
			func() any { return new([]int) }, func() any { return new(struct{}) }, func() any { return new(map[string]int) },
		} {
			v := into()
			least := ^uint64(0) // of several, since other goroutines take memory, too
			for range 3 {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := MessagePack.Unmarshal([]byte(s), v)
				runtime.ReadMemStats(&after)
				if err == nil {
					t.Errorf("%.10q into %T: no error", s, v)
				}
				least = min(least, after.TotalAlloc-before.TotalAlloc)
			}
			if n := least; n > uint64(len(s))+64<<10 {
				t.Errorf("%.10q into %T took %d bytes", s, v, n)
			}
		}
	}
}
