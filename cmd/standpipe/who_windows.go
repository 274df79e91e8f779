package main

import (
	"golang.org/x/sys/windows"

	"github.com/standpipe/standpipe"
)

// superuser: SYSTEM, or the Administrators, who own what an elevated program makes.
func superuser() standpipe.Policy {
	return standpipe.User("S-1-5-18", "S-1-5-32-544")
}

// endpointFacts are the owner and the DACL of a pipe. Reading them takes an instance of the pipe for a moment.
func endpointFacts(path string) []fact {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return []fact{{"owner", "unknown: " + err.Error()}}
	}
	h, err := windows.CreateFile(name, windows.READ_CONTROL, 0, nil, windows.OPEN_EXISTING,
		windows.SECURITY_SQOS_PRESENT|windows.SECURITY_IDENTIFICATION, 0)
	if err != nil {
		return []fact{{"owner", "unknown: " + err.Error()}}
	}
	defer windows.CloseHandle(h)
	sd, err := windows.GetSecurityInfo(h, windows.SE_KERNEL_OBJECT,
		windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return []fact{{"owner", "unknown: " + err.Error()}}
	}
	facts := []fact{{"sddl", sd.String()}}
	if owner, _, err := sd.Owner(); err == nil {
		text := owner.String()
		if account, domain, _, err := owner.LookupAccount(""); err == nil {
			text += ` (` + domain + `\` + account + `)`
		}
		facts = append(facts, fact{"owner", text})
	}
	return facts
}
