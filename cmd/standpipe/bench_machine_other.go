//go:build !linux && !windows

package main

import "time"

// benchBusy: what other programs use is not known here.
func benchBusy() (time.Duration, bool) { return 0, false }

// benchModel is the processor's name; "": not known.
func benchModel() string { return "" }

// benchMemory is how many bytes of memory can be had; 0: not known.
func benchMemory() int64 { return 0 }
