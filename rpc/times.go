package rpc

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts times, in steps of a quarter to an eighth of their size. It has no lock, and is added to for a sample of calls only.
type histogram struct {
	counts [timeSteps]atomic.Uint64
}

const (
	firstTime = 8 // 2^8 ns: what takes less is in the first step
	lastTime  = 38
	timeSteps = 1 + 4*(lastTime-firstTime) // the last one has all above 240 s, too
)

// stepOf is the step of d: 0 below 256 ns, and four for each power of two above.
func stepOf(d time.Duration) int {
	if d < 1<<firstTime {
		return 0
	}
	power := bits.Len64(uint64(d)) - 1
	quarter := int(d>>(power-2)) & 3
	return min(1+4*(power-firstTime)+quarter, timeSteps-1)
}

// stepEnd is where a step ends, and the next one begins.
func stepEnd(step int) time.Duration {
	if step == 0 {
		return 1 << firstTime
	}
	power, quarter := firstTime+(step-1)/4, (step-1)%4
	return time.Duration(5+quarter) << (power - 2)
}

// add counts n calls that took d.
func (h *histogram) add(d time.Duration, n uint64) { h.counts[stepOf(d)].Add(n) }

// steps are those that are not empty.
func (h *histogram) steps() []TimeCount {
	list := []TimeCount{}
	for i := range h.counts {
		if n := h.counts[i].Load(); n > 0 {
			list = append(list, TimeCount{stepEnd(i).Seconds(), int64(n)})
		}
	}
	return list
}
