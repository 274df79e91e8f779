package ring

import (
	"testing"
	"time"
)

// looks counts how often spin looks, for what never comes.
func looks(s *spinner) (n int) {
	s.spin(func() bool { n++; return false })
	return n
}

// While somebody else wants the processor, nobody looks for longer than it takes to see whether it is there already.
func TestBusy(t *testing.T) {
	var s spinner
	s.init()
	s.pure = mostPure // also on a machine with one processor
	var n int
	s.spin(func() bool {
		if n++; n == firstLooks+3 { // behind the first ones, which are not timed
			time.Sleep(2 * stolen)
		}
		return false
	})
	if !s.busy || s.ban != leastBan {
		t.Fatalf("busy %v, for %v: it did not see that the processor was taken away", s.busy, s.ban)
	}
	s.banned = time.Since(epoch) + time.Hour
	if n := looks(&s); n != 1 || !s.busy {
		t.Errorf("it looked %d times, busy %v", n, s.busy)
	}
	if !s.spin(func() bool { return true }) {
		t.Error("it does not take what is there")
	}
	s.banned = time.Since(epoch)
	if n := looks(&s); n <= firstLooks || s.busy && s.ban == leastBan {
		t.Errorf("after that, it looked %d times, busy %v", n, s.busy)
	}
}

// Who naps from call to call lets Go's scheduler in, once in a while.
func TestNapsLetIn(t *testing.T) {
	defer func(f func()) { letIn = f }(letIn)
	n := 0
	letIn = func() { n++ }
	a, b, _, _ := pair(t, Least)
	a.Nap()
	if _, err := b.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	const naps = 5*mostNaps + 1
	for range naps {
		a.nap() // it ends at once, as there is something to read
	}
	if n != naps/mostNaps {
		t.Errorf("%d times of %d naps", n, naps)
	}
}
