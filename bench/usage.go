package main

import (
	"fmt"
	"time"
)

// usage is what a process has used up so far.
type usage struct {
	CPU      time.Duration // user and system
	Switches int64         // context switches, voluntary and not
	Allocs   uint64        // objects on Go's heap
	Resident int64         // bytes, now
	Peak     int64         // bytes, at the most
}

func (u usage) minus(v usage) usage {
	return usage{u.CPU - v.CPU, u.Switches - v.Switches, u.Allocs - v.Allocs, u.Resident - v.Resident, u.Peak - v.Peak}
}

// pinning says on which CPUs the two processes run.
type pinning string

const (
	pinNone  pinning = "none"  // where the system puts them
	pinSplit pinning = "split" // on one CPU each
	pinSame  pinning = "same"  // both on one CPU
)

func parsePinning(s string) (pinning, error) {
	switch p := pinning(s); p {
	case pinNone, pinSplit, pinSame:
		return p, nil
	}
	return "", fmt.Errorf("-pin: %q is none of none, split and same", s)
}

// cpus divides those that this process may use among server and client; nil is all.
func (p pinning) cpus(all []int) (server, client []int) {
	switch {
	case p == pinSame && len(all) > 0:
		return all[:1], all[:1]
	case p == pinSplit && len(all) > 1:
		return all[:1], all[1:2]
	}
	return nil, nil
}
