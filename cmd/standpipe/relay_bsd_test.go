//go:build unix && !linux

package main

const sharesHere = false // or not tested
