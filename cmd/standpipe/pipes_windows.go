package main

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/windows"
)

// pipe is an entry of the folder of all pipes.
type pipe struct {
	name      string // what follows \\.\pipe\
	instances uint32
}

// allPipes lists all pipes of this machine. Everybody may: a name is no secret.
func allPipes() ([]pipe, error) {
	pattern, err := windows.UTF16PtrFromString(pipeRoot + "*")
	if err != nil {
		return nil, err
	}
	var data windows.Win32finddata
	h, err := windows.FindFirstFile(pattern, &data)
	switch {
	case err == windows.ERROR_FILE_NOT_FOUND:
		return nil, nil
	case err == windows.ERROR_BAD_DEV_TYPE: // Wine's answer
		return nil, fmt.Errorf("this system does not list its pipes: %w (%w)", errors.ErrUnsupported, err)
	case err != nil:
		return nil, err
	}
	defer windows.FindClose(h)
	var list []pipe
	for ; err == nil; err = windows.FindNextFile(h, &data) {
		// What is a file's size is, of a pipe, the number of its instances.
		list = append(list, pipe{windows.UTF16ToString(data.FileName[:]), data.FileSizeLow})
	}
	if err != windows.ERROR_NO_MORE_FILES {
		return nil, err
	}
	return list, nil
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
