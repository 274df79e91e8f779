package main

const (
	handlesTravel = false // they are values of the client's own table, in frames: behind a relay they mean nothing
	halfCloses    = false // a pipe
)
