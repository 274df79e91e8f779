package main

// relayDiffers are the promises of a connection that a relay does not keep.
var relayDiffers []string

const privateMode = false // a file has the ACL of its folder
