package ring

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

type areaVector struct {
	name string
	head map[string]string
	body []byte
}

// areaVectors are those of spec/vectors/memory that are of areas. spec/memory.md has the format.
func areaVectors(t testing.TB) (list []areaVector) {
	t.Helper()
	files, err := filepath.Glob("../../spec/vectors/memory/area-*.txt")
	if err != nil || len(files) != 32 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		v := areaVector{strings.TrimSuffix(filepath.Base(f), ".txt"), map[string]string{}, nil}
		head, body, _ := strings.Cut(string(text), "\n\n")
		for line := range strings.SplitSeq(head, "\n") {
			k, value, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("%s: header line %q", v.name, line)
			}
			v.head[k] = value
		}
		for line := range strings.Lines(body) {
			if !strings.HasPrefix(line, "#") {
				b, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
				if err != nil {
					t.Fatal(v.name, err)
				}
				v.body = append(v.body, b...)
			}
		}
		if v.head["what"] != "area" {
			t.Fatalf("%s is %q", v.name, v.head["what"])
		}
		list = append(list, v)
	}
	return list
}

func (v areaVector) number(t testing.TB, key string) uint64 {
	if v.head[key] == "" {
		return 0
	}
	n, err := strconv.ParseUint(v.head[key], 10, 64)
	if err != nil {
		t.Fatalf("%s: %s: %v", v.name, key, err)
	}
	return n
}

// counted is a Link over which nothing comes.
type counted struct{ bells int }

func (*counted) Wait() error   { return errors.New("it waits") }
func (*counted) Poke()         {}
func (l *counted) Bell() error { l.bells++; return nil }

// state is a Ring as the vector has it.
func (v areaVector) state(t testing.TB) (*Ring, *counted) {
	room := int(v.number(t, "room"))
	mine, theirs := area(room), area(room)
	for i := range room {
		mine[Head+i], theirs[Head+i] = byte(i%251), byte(i%251)
	}
	l := &counted{}
	r, err := New(l, mine, theirs)
	if err != nil {
		t.Fatal(err)
	}
	r.theirs.head.Store(v.number(t, "head"))
	r.theirs.window.Store(v.number(t, "window"))
	r.theirs.tail.Store(v.number(t, "tail"))
	r.theirs.parked.Store(uint32(v.number(t, "parked")))
	r.theirs.waiting.Store(uint32(v.number(t, "waiting")))
	r.tail = v.number(t, "my-tail")
	r.mine.tail.Store(r.tail)
	r.head, r.seen = v.number(t, "my-head"), v.number(t, "my-seen")
	r.mine.head.Store(r.head)
	if w := v.number(t, "my-window"); w != 0 {
		r.resize(w)
	}
	return r, l
}

// What a reader and a writer do about one state of the areas.
func TestAreaVectors(t *testing.T) {
	for _, v := range areaVectors(t) {
		t.Run(v.name, func(t *testing.T) {
			r, l := v.state(t)
			var n int
			var err error
			var expect string
			do, most, _ := strings.Cut(v.head["do"], " ")
			switch do {
			case "read":
				size, aerr := strconv.Atoi(most)
				if aerr != nil {
					t.Fatal(aerr)
				}
				p := make([]byte, size)
				tail := r.tail
				r.Interrupt(true) // it is not to wait
				n, err = r.Read(p)
				if !bytes.Equal(p[:n], v.body) {
					t.Errorf("it has read % x", p[:n])
				}
				if r.mine.tail.Load() != tail+uint64(n) {
					t.Errorf("%d bytes were read, and the tail went from %d to %d", n, tail, r.mine.tail.Load())
				}
				expect = fmt.Sprintf("reads %d", n)
			case "write":
				head := r.head
				r.SetWriteDeadline(time.Unix(1, 0))
				n, err = r.Write(v.body)
				v.landed(t, r)
				if r.mine.head.Load() != head+uint64(n) {
					t.Errorf("%d bytes were written, and the head went from %d to %d", n, head, r.mine.head.Load())
				}
				expect = fmt.Sprintf("writes %d", n)
			default:
				t.Fatalf("nobody can %q", do)
			}
			switch {
			case errors.Is(err, ErrBroken):
				expect = "dies"
			case n == 0 && errors.Is(err, os.ErrDeadlineExceeded):
				expect = "waits"
			case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
				t.Fatal(err)
			}
			if bell := map[bool]string{true: "yes", false: "no"}[l.bells > 0]; expect != v.head["expect"] || bell != v.head["bell"] || l.bells > 1 {
				t.Errorf("it %s (%v), and rings %d times; it should be %s, and %s", expect, err, l.bells, v.head["expect"], v.head["bell"])
			}
		})
	}
}

// landed looks whether the bytes are where they belong, and nothing else has changed.
func (v areaVector) landed(t *testing.T, r *Ring) {
	t.Helper()
	want := area(len(r.out))[Head:]
	for i := range want {
		want[i] = byte(i % 251)
	}
	body := v.body
	if v.head["lands"] != "" {
		for part := range strings.SplitSeq(v.head["lands"], ", ") {
			var at, n int
			if _, err := fmt.Sscan(part, &at, &n); err != nil {
				t.Fatal(err)
			}
			copy(want[at:at+n], body)
			body = body[n:]
		}
	}
	if !bytes.Equal(r.out, want) {
		t.Error("the bytes are not where they belong")
	}
}
