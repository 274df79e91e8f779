package rpc

import (
	"testing"
	"time"
)

// A time is in the step that ends above it, and not in the one before; steps are a quarter of their times at most.
func TestTimeSteps(t *testing.T) {
	for step := range timeSteps - 1 {
		end := stepEnd(step)
		if got := stepOf(end - 1); got != step {
			t.Errorf("%v is in step %d, not %d", end-1, got, step)
		}
		if got := stepOf(end); got != step+1 {
			t.Errorf("%v is in step %d, not %d", end, got, step+1)
		}
		if step > 0 && end > stepEnd(step-1)*5/4 {
			t.Errorf("step %d is from %v to %v", step, stepEnd(step-1), end)
		}
	}
	for _, d := range []time.Duration{-1, 0} {
		if stepOf(d) != 0 {
			t.Errorf("%v", d)
		}
	}
	if got := stepOf(1000 * time.Hour); got != timeSteps-1 {
		t.Errorf("a long time is in step %d", got)
	}
}
