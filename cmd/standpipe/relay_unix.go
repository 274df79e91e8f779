//go:build unix

package main

const (
	handlesTravel = true // with the bytes of a connection, so that a relay passes them on as they come
	halfCloses    = true // a connection of ours
)
