package ring

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"
)

// FuzzArea lets the other side say whatever of its area, between reads and writes: these move as many bytes as they may, or say that
// the ring is broken.
//
// A step has 9 bytes: what to do, and a number.
func FuzzArea(f *testing.F) {
	step := func(list []byte, what byte, n uint64) []byte {
		return binary.LittleEndian.AppendUint64(append(list, what), n)
	}
	for _, v := range areaVectors(f) {
		steps := step(nil, 1, v.number(f, "window"))
		steps = step(steps, 0, v.number(f, "head"))
		steps = step(steps, 2, v.number(f, "tail"))
		steps = step(steps, 3, v.number(f, "parked"))
		steps = step(steps, 4, v.number(f, "waiting"))
		for _, what := range []byte{5, 6, 7} {
			steps = step(steps, what, 100)
		}
		f.Add(byte(1), v.number(f, "my-tail"), v.number(f, "my-head"), steps)
	}
	f.Fuzz(func(t *testing.T, room byte, tail, head uint64, steps []byte) {
		size := Least << (room % 3)
		mine, theirs := area(size), area(size)
		l := &counted{}
		r, err := New(l, mine, theirs)
		if err != nil {
			t.Fatal(err)
		}
		r.tail, r.head, r.seen = tail, head, head
		r.mine.tail.Store(tail)
		r.mine.head.Store(head)
		r.theirs.head.Store(tail)
		r.theirs.tail.Store(head)
		r.theirs.window.Store(uint64(size))
		r.Interrupt(true)
		r.SetWriteDeadline(time.Unix(1, 0))
		for ; len(steps) >= 9 && err == nil; steps = steps[9:] {
			err = forged(t, r, steps[0], binary.LittleEndian.Uint64(steps[1:]))
		}
		if err != nil && !errors.Is(err, ErrBroken) {
			t.Fatal(err)
		}
	})
}

// forged is one step.
func forged(t *testing.T, r *Ring, what byte, n uint64) error {
	c := r.theirs
	switch what % 8 {
	case 0:
		c.head.Store(n)
	case 1:
		c.window.Store(n)
	case 2:
		c.tail.Store(n)
	case 3:
		c.parked.Store(uint32(n))
	case 4:
		c.waiting.Store(uint32(n))
	case 5:
		tail, most := r.tail, c.head.Load()-r.tail
		k, err := r.Read(make([]byte, n%(1<<15)))
		if uint64(k) > most || k > len(r.in) || r.tail != tail+uint64(k) || err == nil && k == 0 && n%(1<<15) > 0 {
			t.Fatalf("%d of %d bytes were read, the tail went from %d to %d: %v", k, most, tail, r.tail, err)
		}
		return unlessLate(err)
	case 6:
		head := r.head
		k, err := r.Write(make([]byte, n%(1<<15)))
		if r.head != head+uint64(k) || r.mine.head.Load() != r.head || err == nil && uint64(k) != n%(1<<15) {
			t.Fatalf("%d bytes were written, the head went from %d to %d: %v", k, head, r.head, err)
		}
		return unlessLate(err)
	case 7:
		_, err := r.TryWrite(make([]byte, 8), [][]byte{make([]byte, n%(1<<15))})
		r.Publish()
		return err
	}
	return nil
}

func unlessLate(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}
