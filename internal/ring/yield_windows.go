package ring

import "golang.org/x/sys/windows"

var switchToThread = windows.NewLazySystemDLL("kernel32.dll").NewProc("SwitchToThread")

// osYield lets another process run, if one waits for this processor.
func osYield() { switchToThread.Call() }
