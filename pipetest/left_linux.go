package pipetest

import (
	"fmt"
	"os"
	"strings"
)

// descriptors are the open ones, by what they lead to.
func descriptors() census {
	const dir = "/proc/self/fd"
	c := census{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return c
	}
	for _, e := range entries {
		to, err := os.Readlink(dir + "/" + e.Name())
		if err == nil && !strings.HasSuffix(to, "/fd") { // the folder that was just read
			c["fd "+e.Name()+" "+to] = "descriptor " + e.Name() + ": " + to
		}
	}
	return c
}

// mappings are those of shared memory that has no lasting file: proc_pid_maps(5).
func mappings() census {
	c := census{}
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return c
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 6 || len(f[1]) != 4 || f[1][3] != 's' {
			continue
		}
		path := strings.Join(f[5:], " ")
		if strings.HasPrefix(path, "/memfd:") || strings.HasPrefix(path, "/dev/shm/") || strings.HasSuffix(path, "(deleted)") {
			c["map "+f[0]] = fmt.Sprintf("mapping %s %s of %s", f[0], f[1], path)
		}
	}
	return c
}
