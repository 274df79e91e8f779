//go:build unix

package msg

// resumes: a write that its deadline ends says how much the peer will get, so that the rest can be written later.
const resumes = true
