package main

import (
	"fmt"
	"net"
	"os"
)

// foreignServer is what foreign runs.
func foreignServer() {
	ln, err := net.Listen("unix", os.Args[1])
	if err == nil {
		var mode os.FileMode
		fmt.Sscanf(os.Args[2], "%o", &mode)
		err = os.Chmod(os.Args[1], mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Print("ready")
	var conns []net.Conn
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		conns = append(conns, c) // not collected, and thus not closed
		if len(conns) > 100 {
			return
		}
	}
}
