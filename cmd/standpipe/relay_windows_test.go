package main

// relayDiffers are the promises of a connection that a relay does not keep, nor a pipe.
var relayDiffers = []string{"CloseWrite"}

const privateMode = false // a file has the ACL of its folder
