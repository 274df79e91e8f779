package main

const sharesHere = true
