//go:build unix

package pipetest

import "os"

// remains are the files of an endpoint: the socket and its lock (spec/address.md).
func remains(path string) []string {
	var left []string
	for _, file := range []string{path, path + ".lock"} {
		if _, err := os.Lstat(file); err == nil {
			left = append(left, "the file "+file+" is still there")
		}
	}
	return left
}
