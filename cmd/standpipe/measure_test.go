package main

import (
	"context"
	"testing"
	"time"
)

// What is quicker than the clock goes on by is timed all the same, as the mean of several.
func TestMeasureCoarseClock(t *testing.T) {
	was := tick
	defer func() { tick = was }()
	w := way{echo: func(_ context.Context, in []byte) ([]byte, error) { return in, nil }}
	const coarse = 500 * time.Microsecond
	for _, tick = range []time.Duration{was, coarse} {
		c, err := measure(t.Context(), w, []byte("x"), 20*time.Millisecond, nil)
		if err != nil || len(c) == 0 {
			t.Fatal(tick, len(c), err)
		}
		if tick == coarse && (len(c) > 10 || c.quantile(0.5) <= 0 || c.quantile(0.5) > time.Millisecond) {
			t.Errorf("%d times, %v", len(c), c.quantile(0.5))
		}
	}
}
