//go:build unix && !race

package standpipe_test

import (
	"testing"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/pipetest"
)

// TestNoAllocation: Read and Write take no memory of their own. (The race detector takes some.)
func TestNoAllocation(t *testing.T) {
	a, b := pipetest.Pair(t, nil, nil)
	conns := map[string][2]*standpipe.Conn{"bytes": {a, b}}
	if messagesWork {
		a, b := messagePair(t)
		conns["messages"] = [2]*standpipe.Conn{a, b}
	}
	for name, c := range conns {
		out, in := make([]byte, 64), make([]byte, 64)
		allocs := testing.AllocsPerRun(1000, func() {
			if _, err := c[0].Write(out); err != nil {
				t.Fatal(err)
			}
			if _, err := c[1].Read(in); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > 0 {
			t.Errorf("%s: a Write and a Read allocate %v times", name, allocs)
		}
		if allocs = testing.AllocsPerRun(1000, func() {
			if _, err := c[0].Write(out); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c[1].ReadHandles(in); err != nil {
				t.Fatal(err)
			}
		}); allocs > 0 && name == "bytes" {
			t.Errorf("%s: a Write and a ReadHandles allocate %v times", name, allocs)
		}
	}
}
