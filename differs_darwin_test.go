package standpipe_test

const (
	programWorks = false // for C programs only
	messagesWork = false // no SOCK_SEQPACKET
	listWorks    = true
)
