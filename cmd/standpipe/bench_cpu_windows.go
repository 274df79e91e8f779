package main

import (
	"time"

	"golang.org/x/sys/windows"
)

// benchCPU is the processor time that this process has used.
func benchCPU() time.Duration {
	var made, ended, kernel, user windows.Filetime
	if windows.GetProcessTimes(windows.CurrentProcess(), &made, &ended, &kernel, &user) != nil {
		return 0
	}
	return benchTicks(kernel) + benchTicks(user)
}

// benchTicks is a Filetime that is a length of time, in units of 100 ns.
func benchTicks(t windows.Filetime) time.Duration {
	return time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime)) * 100
}
