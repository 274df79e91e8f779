package standpipe_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/pipetest"
)

// listed is what List finds.
func listed(t *testing.T) map[standpipe.Addr]bool {
	t.Helper()
	addrs, err := standpipe.List()
	if errors.Is(err, errors.ErrUnsupported) && !listWorks {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(addrs, func(a, b standpipe.Addr) int { return strings.Compare(a.Name(), b.Name()) }) {
		t.Errorf("not sorted: %v", addrs)
	}
	m := map[standpipe.Addr]bool{}
	for _, a := range addrs {
		m[a] = true
	}
	return m
}

// own are those that are not shared.
func own(all map[standpipe.Addr]bool) (addrs []standpipe.Addr) {
	for a := range all {
		if !strings.HasPrefix(a.Name(), "shared:") {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

func TestList(t *testing.T) {
	name := pipetest.Name(t)
	addr, err := standpipe.ParseAddr(name)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if listed(t)[addr] {
			t.Error("it is listed before Listen, or after Close")
		}
		ln, err := standpipe.Listen(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ln.Addr() != addr {
			t.Errorf("Addr is %v, want %v", ln.Addr(), addr)
		}
		if listed(t)[addr] != listWorks {
			t.Errorf("served, but listed: %v", !listWorks)
		}
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
