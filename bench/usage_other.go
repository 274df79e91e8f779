//go:build !linux

package main

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// supported says why nothing can be measured on this system.
func supported() error {
	return fmt.Errorf("the benchmarks run on Linux only: what a process uses can't be measured here yet: %w", errors.ErrUnsupported)
}

func used(int) usage { return usage{} }

func busy() time.Duration { return 0 }

func machine() string {
	return fmt.Sprintf("%d CPUs, %s, %s", runtime.NumCPU(), runtime.GOARCH, runtime.Version())
}
