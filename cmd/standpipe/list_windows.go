package main

import (
	"cmp"
	"slices"
	"strings"

	"golang.org/x/sys/windows"

	"github.com/standpipe/standpipe"
)

// endpoints are those of this user and the machine's, and with all those of other programs, sorted. A pipe goes with its
// last handle, so that none is stale. Other programs' pipes are not opened, which takes an instance: of them there is the name.
func endpoints(all bool) ([]listed, error) {
	served, err := standpipe.List()
	if err != nil {
		return nil, err
	}
	var list []listed
	for _, a := range served {
		list = append(list, look(listed{Name: a.Name(), Network: "pipe", Path: a.String(), State: alive}))
	}
	if !all {
		return list, nil
	}
	pipes, err := allPipes()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(pipes, func(a, b pipe) int { return cmp.Compare(a.name, b.name) })
	for _, p := range slices.CompactFunc(pipes, func(a, b pipe) bool { return a.name == b.name }) {
		path := pipeRoot + p.name
		if !slices.ContainsFunc(list, func(e listed) bool { return strings.EqualFold(e.Path, path) }) {
			list = append(list, listed{Network: "pipe", Path: path, State: alive, Instances: p.instances})
		}
	}
	return list, nil
}

// look connects for a moment, to see who serves; while all instances are taken, that stays unknown.
func look(e listed) listed {
	name, err := windows.UTF16PtrFromString(e.Path)
	if err != nil {
		return e
	}
	h, err := windows.CreateFile(name, windows.READ_CONTROL|windows.FILE_READ_ATTRIBUTES, 0, nil, windows.OPEN_EXISTING,
		windows.SECURITY_SQOS_PRESENT|windows.SECURITY_IDENTIFICATION, 0)
	if err != nil {
		return e
	}
	defer windows.CloseHandle(h)
	if sd, err := windows.GetSecurityInfo(h, windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION); err == nil {
		if sid, _, err := sd.Owner(); err == nil && sid != nil {
			e.Owner = sid.String()
			e.OwnerName = strings.TrimSuffix(strings.TrimPrefix(account(e.Owner), e.Owner+" ("), ")")
			if e.OwnerName == e.Owner {
				e.OwnerName = ""
			}
		}
	}
	var pid uint32
	if windows.GetNamedPipeServerProcessId(h, &pid) == nil {
		e.PID = int(pid)
		e.Program = programOf(pid)
	}
	return e
}

// programOf is what a process runs; "" where that may not be seen.
func programOf(pid uint32) string {
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return ""
	}
	defer windows.CloseHandle(process)
	path := make([]uint16, 32768) // the longest there is
	n := uint32(len(path))
	if windows.QueryFullProcessImageName(process, 0, &path[0], &n) != nil {
		return ""
	}
	return windows.UTF16ToString(path[:n])
}
